"""A learning rate that falls in steps."""

from typing import Any

import keras

from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@register_schedule("step")
def step(
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    step_size: int = 10,
    decay_rate: float = 0.1,
) -> Any:
    """Return one that falls by `decay_rate` after every `step_size` epochs."""
    after = keras.optimizers.schedules.ExponentialDecay(
        rate, step_size * epoch_steps, decay_rate, staircase=True
    )
    return WarmUp(after, rate, warmup_steps)
