"""From a recipe to a trained, pruned, quantized and exported model."""

from kbp.training.distribution import create_strategy
from kbp.training.recipe import Recipe
from kbp.training.run import run
from kbp.training.stage import Stage
from kbp.training.task import Task
from kbp.training.tasks import make_task

__all__ = ["Recipe", "Stage", "Task", "create_strategy", "make_task", "run"]
