"""Optimizers raced to a target accuracy."""
