"""The race of optimizers on several tasks, with optax's."""
