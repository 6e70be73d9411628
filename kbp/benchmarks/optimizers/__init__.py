"""Optimizers compared by their steps to an accuracy, tuned alike."""
