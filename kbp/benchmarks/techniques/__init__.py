"""Techniques of training compared, on digits and a forecast."""
