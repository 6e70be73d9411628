"""Tasks of sequences, such as of counted events: a class for each."""

from kbp.tasks.sequences import classification

__all__ = ["classification"]
