"""Clients on other machines: what they are sent, hold, and whether they are there."""
