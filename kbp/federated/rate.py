"""The learning rate of a client, whose steps are its own."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor


class ClientRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that each client follows from where the round begins.

        r(t) = schedule(begin + stride (t - first))

    Clients have different numbers of steps in a round, and all of them pass
    through the same part of the schedule. One compiled training serves all
    clients of a process, as these three are variables.

    Args:
        schedule: a Keras schedule over the steps of the whole training.
    """

    def __init__(self, schedule: Any):
        super().__init__()
        self.schedule = schedule
        self.begin, self.first, self.stride = (
            keras.Variable(value, trainable=False, dtype="float32", name=name)
            for name, value in (("begin", 0), ("first", 0), ("stride", 1))
        )

    def start(self, begin: float, first: float, stride: float) -> None:
        """Set where a round begins, at which step, and how far a step goes."""
        self.begin.assign(begin)
        self.first.assign(first)
        self.stride.assign(stride)

    def __call__(self, step: Tensor) -> Tensor:
        since = ops.cast(step, "float32") - self.first
        return self.schedule(self.begin + self.stride * since)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self.schedule}
