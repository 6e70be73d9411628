"""The weights of the best epoch, which a stage ends with."""

import io
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._utils.files import write_atomically
from kbp.errors import UserError
from kbp.tasks import Task
from kbp.training.techniques.technique import (
    Logs,
    Stage,
    Technique,
    register_technique,
)


@register_technique("keep_best")
class KeepBest(Technique):
    """Keeps the weights with the least validation loss, the first included.

    They are kept in a file, from which a resumed training continues.
    """

    by_rounds = True

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.keep_best)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        if not len(task.splits.validation):
            raise UserError("training.keep_best needs validation examples")
        if task.recipe.sparsity.target:
            raise UserError(
                "training.keep_best would bring back weights from before they "
                "were pruned; set sparsity.target to 0"
            )

    def on_train_begin(self, logs: Logs = None) -> None:
        path = self.stage.best
        if path.is_file():
            with np.load(path) as kept:
                self.least = float(kept["loss"])
            return
        self.least = math.inf
        data = self.stage.validation
        self.keep(self.model.evaluate(data, verbose=0, return_dict=True))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.keep({"loss": (logs or {})["val_loss"]})

    def keep(self, logs: dict[str, float]) -> None:
        """Write the model's weights if their loss is the least."""
        if logs["loss"] < self.least:
            self.least = logs["loss"]
            save_weights(self.stage.best, self.model, self.least)

    def end(self, model: keras.Model) -> None:
        end_with_best(self.stage, model)


def end_with_best(stage: Stage, model: keras.Model) -> None:
    """Set a model to the best weights of its stage, if any were kept."""
    if stage.best.is_file():
        load_weights(stage.best, model)


def save_weights(path: Path, model: keras.Model, loss: float) -> None:
    """Write a model's weights and their loss to a file."""
    content = io.BytesIO()
    np.savez(content, *model.get_weights(), loss=np.float64(loss))
    write_atomically(path, content.getvalue())


def load_weights(path: Path, model: keras.Model) -> None:
    """Set a model to the weights that a file holds."""
    with np.load(path) as kept:
        count = len(kept.files) - 1
        model.set_weights([kept[f"arr_{i}"] for i in range(count)])
