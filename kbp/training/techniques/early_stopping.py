"""The end of a stage that no longer gets better."""

import math
from typing import Any

import keras

from kbp.errors import UserError, nearest
from kbp.tasks import Task
from kbp.training.techniques.keep_best import end_with_best, save_weights
from kbp.training.techniques.technique import (
    Logs,
    Stage,
    Technique,
    register_technique,
)

# Parts of the names of what is to fall.
_FALLS = ("loss", "error", "mse", "mae", "mape", "msle", "entropy", "diverg")


@register_technique("early_stopping")
class EarlyStopping(Technique):
    """Ends a stage after `patience` epochs that were not better.

    It ends with the weights of its best epoch. Where masks close, epochs before
    their end do not count, whose weights are not pruned yet.
    """

    by_rounds = True

    def __init__(self, stage: Stage):
        super().__init__(stage)
        section: Any = self.recipe.training.early_stopping
        self.section = section
        falls = any(word in section.monitor for word in _FALLS)
        self.sign = 1.0 if falls else -1.0
        self.best: float | None = None
        self.wait = 0
        end = self.recipe.sparsity.end if stage.schedule else 0.0
        self.first = min(stage.epochs, math.ceil(end * stage.epochs))

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return recipe.training.early_stopping is not None

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        training: Any = task.recipe.training
        name = "training.early_stopping"
        monitor = training.early_stopping.monitor
        if not len(task.splits.validation) and monitor.startswith("val_"):
            raise UserError(f"{name} needs validation examples for {monitor!r}")
        if training.keep_best:
            raise UserError(
                f"{name} brings back the best weights itself; set "
                "training.keep_best to false"
            )
        metrics = task.metrics()
        if isinstance(metrics, list):
            known = ["loss", *(getattr(m, "name", m) for m in metrics)]
            known += [f"val_{name}" for name in known]
            if monitor not in known:
                raise UserError(
                    f"{name}.monitor: unknown {monitor!r}"
                    f"{nearest(monitor, known)}"
                )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs, monitor = logs or {}, self.section.monitor
        if monitor not in logs:
            raise UserError(
                f"training.early_stopping.monitor: unknown {monitor!r}"
                f"{nearest(monitor, [*logs])}"
            )
        if epoch + 1 < self.first:
            return
        value = self.sign * logs[monitor]
        # One that is not finite is never the best.
        least = math.inf if self.best is None else self.best
        if value < least - self.section.min_delta:
            self.best, self.wait = value, 0
            save_weights(self.stage.best, self.model, value)
            return
        self.wait += 1
        if self.wait >= self.section.patience:
            self.stopped = self.model.stop_training = True

    def end(self, model: keras.Model) -> None:
        end_with_best(self.stage, model)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait, "stopped": self.stopped}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.wait = state["best"], state["wait"]
        self.stopped = state["stopped"]
