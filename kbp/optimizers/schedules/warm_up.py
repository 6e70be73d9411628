"""A linear rise of the learning rate before any schedule."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor


@keras.saving.register_keras_serializable(package="kbp")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Let the learning rate rise from 0, then follow another schedule.

        r(t) = peak t / w            for t < w,
        r(t) = after(t - w)          from there on

    Args:
        after: a Keras schedule, whose steps begin at 0 after the rise; or a
            number, which stays.
        peak: where the rise ends.
        warmup_steps: `w`; 0 leaves the rise out.

    Example:
    >>> import kbp
    >>> rate = kbp.optimizers.schedules.WarmUp(0.5, 0.5, warmup_steps=2)
    >>> [float(rate(step)) for step in range(4)]
    [0.0, 0.25, 0.5, 0.5]
    """

    def __init__(self, after: Any, peak: float, warmup_steps: int):
        super().__init__()
        if isinstance(after, dict):
            after = keras.saving.deserialize_keras_object(after)
        self.after, self.peak = after, float(peak)
        self.warmup_steps = int(warmup_steps)

    def __call__(self, step: Tensor) -> Tensor:
        later = ops.maximum(ops.cast(step, "int64") - self.warmup_steps, 0)
        rate = self.after(later) if callable(self.after) else self.after
        rate = ops.cast(rate, "float32")
        if not self.warmup_steps:
            return rate
        done = ops.cast(step, "float32") / float(self.warmup_steps)
        return ops.where(done < 1.0, self.peak * done, rate)

    def get_config(self) -> dict[str, Any]:
        after: Any = self.after
        if callable(after):
            after = keras.saving.serialize_keras_object(after)
        return {
            "after": after,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
        }
