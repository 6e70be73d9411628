"""A learning rate that falls by the same share in every epoch."""

from typing import Any

import keras

from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@register_schedule("exponential")
def exponential(
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    decay_rate: float = 0.9,
) -> Any:
    """Return one that falls by `decay_rate` in an epoch, a part each step."""
    after = keras.optimizers.schedules.ExponentialDecay(
        rate, epoch_steps, decay_rate
    )
    return WarmUp(after, rate, warmup_steps)
