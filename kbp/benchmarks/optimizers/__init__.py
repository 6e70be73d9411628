"""Optimizers compared by the steps to a target accuracy, each tuned alike."""
