"""Models that are asked to predict, and whose task that is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kbp.errors import UserError
from kbp.inference.loading import open_model
from kbp.tasks.registry import TASKS
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


@dataclass(frozen=True)
class OpenModel:
    """A model file that is ready to predict.

    Attributes:
        path: of the file.
        predict: `predict(inputs) -> outputs` of float batches.
        inputs: shape of one example.
        outputs: shape of what the model gives for it.
    """

    path: Path
    predict: Callable[[np.ndarray], np.ndarray]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> "OpenModel":
        """Open a `.keras` or `.tflite` file.

        Raises:
            UserError: it is no model of one input and one output.
        """
        return cls(path, *open_model(path))


def task_of(model: OpenModel, recipe: "Recipe | None") -> type[Task]:
    """Return the task of a model: its recipe's, else one that its shapes fit.

    Args:
        model: an opened file.
        recipe: what it was trained with, if that is known.

    Raises:
        UserError: no task has models of such shapes.
    """
    if recipe is not None:
        return TASKS[recipe.task.name]
    for name in TASKS:
        if TASKS[name].fits(model.inputs, model.outputs):
            return TASKS[name]
    raise UserError(
        f"{model.path}: belongs to no run of kbp, and no task is known that "
        f"takes {model.inputs} and gives {model.outputs}: models must label "
        "pixels (images of 1 or 3 channels, logits of 2 to 256 classes), or "
        "forecast (rows of values)"
    )
