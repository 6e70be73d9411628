"""Layers that take or give the data's own units, in float."""
