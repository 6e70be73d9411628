"""Replacing layers by those that have 8-bit rules."""
