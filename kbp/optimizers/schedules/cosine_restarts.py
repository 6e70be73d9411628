"""Cosines that begin again."""

from typing import Any

import keras

from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@register_schedule("cosine_restarts")
def cosine_restarts(
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    period: int = 10,
    period_factor: float = 2.0,
    peak_factor: float = 1.0,
) -> Any:
    """Return half a cosine to 0 in `period` epochs, then again and again.

    Each period is `period_factor` times as long as the one before it, and its
    peak `peak_factor` times as high.
    """
    after = keras.optimizers.schedules.CosineDecayRestarts(
        rate, period * epoch_steps, period_factor, peak_factor
    )
    return WarmUp(after, rate, warmup_steps)
