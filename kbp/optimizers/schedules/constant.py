"""A learning rate that stays."""

from typing import Any

from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@register_schedule("constant")
def constant(
    rate: float, *, steps: int, warmup_steps: int, epoch_steps: int
) -> Any:
    """Return one that stays at the peak after the warm-up."""
    return WarmUp(rate, rate, warmup_steps)
