"""A learning rate that falls as a power of what is left of the training."""

from typing import Any

import keras

from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@register_schedule("polynomial")
def polynomial(
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    power: float = 1.0,
    minimum_share: float = 0.0,
) -> Any:
    """Return one that falls to `minimum_share` of the peak, as a power does.

    A `power` of 1 is a straight line, of 2 a parabola.
    """
    after = keras.optimizers.schedules.PolynomialDecay(
        rate, max(1, steps - warmup_steps), minimum_share * rate, power
    )
    return WarmUp(after, rate, warmup_steps)
