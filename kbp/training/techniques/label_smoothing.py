"""Labels that leave a share to the other classes."""

from typing import Any

import keras

from kbp.errors import UserError
from kbp.tasks import Task
from kbp.training.techniques.technique import Technique, register_technique


@register_technique("label_smoothing")
class SmoothedLabels(Technique):
    """Sees to it that a task's loss smooths labels, which it does itself."""

    by_rounds = True

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.label_smoothing)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        if getattr(task.loss, "options", {}).get("label_smoothing"):
            return
        raise UserError(
            "training.label_smoothing is for the recipe's loss of classes; the "
            f"task {task.name!r} has none"
        )
