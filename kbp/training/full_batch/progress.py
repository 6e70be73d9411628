"""The steps of a method, as Keras's callbacks see them."""

import time
from typing import Any

import keras
import numpy as np

from kbp.training.full_batch.objective import Objective


class Finished(Exception):  # noqa: N818  (no error)
    """A method is to stop: bounds are reached, or a callback asks for it."""


class Progress:
    """Where a method begins, and what it tells of each step.

    Args:
        objective: to minimize.
        callbacks: of Keras, which see a step as an epoch.
        validation: the loss of other examples, perhaps `None`.
        max_steps: steps after which to stop.
        max_seconds: seconds after which to stop.
        tolerance: the method may stop where no element of the gradient is
            larger.
        seed: of what a method draws.

    Attributes:
        start: the weights at which to begin, `(size,)`.
    """

    def __init__(
        self,
        objective: Objective,
        callbacks: keras.callbacks.CallbackList,
        validation: Objective | None,
        max_steps: int,
        max_seconds: float,
        tolerance: float,
        seed: int,
    ):
        self.objective, self.validation = objective, validation
        self.start = objective.vector()
        self.max_steps, self.max_seconds = max_steps, max_seconds
        self.tolerance, self.seed = tolerance, seed
        self._callbacks, self._began = callbacks, time.monotonic()
        self._steps = 0

    def step(self, weights: np.ndarray, loss: float | None = None) -> None:
        """Give the model the weights of a step, and tell the callbacks.

        Args:
            weights: `(size,)`.
            loss: there, if it is known.

        Raises:
            Finished: the method is to stop.
        """
        objective, step = self.objective, self._steps
        loss = objective.loss(weights) if loss is None else loss
        objective.assign(weights)
        logs: dict[str, Any] = {"loss": loss}
        if self.validation is not None:
            logs["val_loss"] = self.validation.loss(weights)
        self._callbacks.on_epoch_begin(step)
        self._callbacks.on_epoch_end(step, logs)
        self._steps += 1
        self.check()

    def check(self) -> None:
        """Raise `Finished` if the method is to stop."""
        if (
            self._steps >= self.max_steps
            or time.monotonic() - self._began >= self.max_seconds
            or self.objective.model.stop_training
        ):
            raise Finished
