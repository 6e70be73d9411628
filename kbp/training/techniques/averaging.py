"""Averages of the weights, which a stage ends with."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from kbp.errors import UserError
from kbp.optimizers.averaging import inner_optimizer, refresh_batch_norm
from kbp.optimizers.summing import steps_of
from kbp.tasks import Task
from kbp.training.techniques.technique import Technique, register_technique

_BATCHES = 64  # for the statistics of BatchNormalization


@register_technique("averaging")
class Averaging(Technique):
    """Ends a stage with an average of the weights that it went through.

    The optimizer keeps it. Masks are closed once more for the averages, and
    statistics of BatchNormalization are those of training batches.
    """

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.optimizer.averaging != "none")

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        training = task.recipe.training
        for key in ("keep_best", "early_stopping"):
            if getattr(training, key):
                raise UserError(
                    f"optimizer.averaging ends with an average, and "
                    f"training.{key} with the best weights; leave one out"
                )

    @contextlib.contextmanager
    def learning(self, model: keras.Model) -> Iterator[None]:
        # `fit` may end within a stage, whose weights then train on.
        optimizer = inner_optimizer(model)
        optimizer.ends_averaged = False
        try:
            yield
        finally:
            optimizer.ends_averaged = True

    def end(self, model: keras.Model) -> None:
        optimizer = inner_optimizer(model)
        self.averages = steps_of(optimizer) > 0
        if not self.averages:
            return
        optimizer.finalize_variable_values(model.trainable_variables)
        if schedule := self.stage.schedule:
            schedule.set_model(model)
            schedule.check(model)
            schedule.progress = None  # of other weights
            schedule.adjust(1.0)

    def refine(self, model: keras.Model) -> None:
        if self.averages:
            batches = self.stage.task.training_batches(seed=self.stage.seed)
            refresh_batch_norm(model, batches.take(_BATCHES))
