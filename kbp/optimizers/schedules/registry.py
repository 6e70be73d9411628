"""Learning rate schedules by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from kbp._utils.registry import Registry

Make = TypeVar("Make", bound=Callable[..., Any])

# `make(rate, *, steps, warmup_steps, epoch_steps, ...) -> schedule`.
SCHEDULES: "Registry[Callable[..., Any]]" = Registry(
    "optimizer.schedule", "kbp.optimizers.schedules"
)


def register_schedule(name: str) -> Callable[[Make], Make]:
    """Register what makes a schedule, for `schedule = "<name>"` in recipes.

    Args:
        name: of the schedule.

    Returns:
        A decorator for `make(rate, *, steps, warmup_steps, epoch_steps, ...)`,
        which returns a Keras schedule: `rate` is its peak, the rest are the
        numbers of steps in all, of the warm-up and of an epoch. Its further
        arguments are the keys of `[optimizer]` that count for it.

    Raises:
        UserError: another schedule has that name.

    Example:
    >>> from kbp.optimizers.schedules import make_schedule
    >>> rate = make_schedule(
    ...     "constant", 0.1, steps=8, warmup_steps=4, epoch_steps=2
    ... )
    >>> [round(float(rate(step)), 3) for step in (0, 1, 4, 7)]
    [0.0, 0.025, 0.1, 0.1]
    """

    def register(make: Make) -> Make:
        SCHEDULES.add(name, make)
        return make

    return register


def make_schedule(
    name: str,
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    **options: Any,
) -> Any:
    """Return a schedule by its name.

    Args:
        name: of the schedule.
        rate: its peak.
        steps: number of steps of the training, with the warm-up.
        warmup_steps: number of steps in which the rate rises from 0.
        epoch_steps: number of steps of an epoch.
        **options: the schedule's own.

    Returns:
        A Keras schedule.

    Raises:
        UserError: there is no such schedule.
    """
    return SCHEDULES[name](
        rate,
        steps=steps,
        warmup_steps=warmup_steps,
        epoch_steps=epoch_steps,
        **options,
    )
