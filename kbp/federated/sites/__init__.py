"""Clients on other machines: what they are sent and hold, who is there."""
