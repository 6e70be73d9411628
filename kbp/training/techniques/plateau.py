"""The learning rate's schedule that looks at validation losses."""

from typing import Any

import keras

from kbp.errors import UserError
from kbp.tasks import Task
from kbp.training.techniques.technique import (
    Logs,
    Technique,
    register_technique,
)


@register_technique("plateau")
class OnPlateau(Technique):
    """Tells the schedule "plateau" each epoch's validation loss."""

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.optimizer.schedule == "plateau")

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        if not len(task.splits.validation):
            raise UserError(
                "optimizer.schedule 'plateau' needs validation examples"
            )

    def optimizer(self, optimizer: Any) -> Any:
        self.rate = optimizer.schedule
        return optimizer

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs is not None:
            # What the epoch had, not what the next one gets.
            rate = self.model.optimizer.learning_rate
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))
            self.rate.observe(logs["val_loss"])

    def state(self) -> dict[str, Any]:
        return dict(self.rate.state())

    def restore(self, state: dict[str, Any]) -> None:
        self.rate.restore(state)
