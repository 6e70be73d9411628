"""Tasks of tables: a class or a number for each row."""

from kbp.tasks.tables import classification, regression

__all__ = ["classification", "regression"]
