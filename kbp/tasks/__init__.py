"""Tasks: what a model learns from a data set, and how it is judged."""

from kbp.tasks.loading import make_task
from kbp.tasks.registry import format_score, register_task
from kbp.tasks.task import Task

__all__ = ["Task", "format_score", "make_task", "register_task"]
