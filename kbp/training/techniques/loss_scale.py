"""Training in float16, whose small gradients a loss scale saves."""

from typing import Any

import keras

from kbp import graph
from kbp.errors import UserError
from kbp.optimizers import LossScale
from kbp.tasks import Task
from kbp.training.techniques.technique import (
    Logs,
    Technique,
    register_technique,
)

NAME = "mixed_float16"


@register_technique("loss_scale")
class ScaledLoss(Technique):
    """Scales the loss while a stage trains in mixed_float16.

    Steps whose gradients overflow are skipped. Each epoch's log says how many
    there were since the start, and what the scale is.
    """

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.precision == NAME)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        for layer in graph.flatten(model).layers:
            if "float64" in (layer.variable_dtype, layer.compute_dtype):
                raise UserError(
                    f"training.precision {NAME!r} would turn layer "
                    f"{layer.name!r} of float64 into float16; give the layer "
                    "float32, or train in 'float32'"
                )

    def optimizer(self, optimizer: Any) -> Any:
        scaled = self.stage.precision == NAME
        return LossScale(optimizer) if scaled else optimizer

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        if logs is not None and isinstance(optimizer, LossScale):
            logs["skipped_steps"] = optimizer.skipped_steps
            scale = keras.ops.convert_to_numpy(optimizer.dynamic_scale)
            logs["loss_scale"] = float(scale)
