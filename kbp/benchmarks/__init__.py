"""Races: figures that a command wrote, with n and spread."""
