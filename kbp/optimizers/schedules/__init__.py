"""Learning rate schedules with warm-up, one in each file."""

from kbp.optimizers.schedules.cosine import warmup_cosine
from kbp.optimizers.schedules.plateau import Plateau
from kbp.optimizers.schedules.registry import (
    SCHEDULES,
    make_schedule,
    register_schedule,
)
from kbp.optimizers.schedules.warm_up import WarmUp

__all__ = [
    "SCHEDULES",
    "Plateau",
    "WarmUp",
    "make_schedule",
    "register_schedule",
    "warmup_cosine",
]
