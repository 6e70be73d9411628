"""Which keys of `[optimizer]` count for an optimizer and a schedule."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from kbp._utils.config import shown
from kbp.errors import UserError, nearest
from kbp.optimizers.hybrid import HybridOptimizer
from kbp.optimizers.schedules import SCHEDULES
from kbp.optimizers.synchronized import keras_optimizers
from kbp.recipes.training import OptimizerRecipe

HYBRID = "hybrid"
CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")
# Keys of one kind of averaging, and what they are where they are not given.
AVERAGING = {
    "averaging_momentum": ("ema", 0.99),
    "averaging_begin": ("tail", 0.75),
}
# Keys that count for some optimizers, and for some schedules.
OF_OPTIMIZERS = (
    *("matrix_steps", "beta_1", "beta_2", "momentum", "nesterov", "rho"),
    *("epsilon", "amsgrad", "centered"),
)
OF_SCHEDULES = (
    *("step_size", "decay_rate", "period", "period_factor", "peak_factor"),
    *("power", "minimum_share", "patience", "min_delta", "cooldown"),
)


def kind_of(name: str) -> type[Any]:
    """Return an optimizer's class by its name.

    Raises:
        UserError: there is none.
    """
    known: dict[str, type[Any]] = {
        HYBRID: HybridOptimizer,
        **keras_optimizers(),
    }
    if name not in known:
        raise UserError(
            f"optimizer.name: unknown {shown(name)}{nearest(name, [*known])}"
        )
    return known[name]


def usual(make: Callable[..., Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return those of some keys that an optimizer or schedule takes.

    Args:
        make: its class, or what makes it.
        keys: of `[optimizer]`.

    Returns:
        The keys, and their values where none are given.
    """
    taken = inspect.signature(make).parameters
    return {key: taken[key].default for key in keys if key in taken}


def given(section: OptimizerRecipe, keys: dict[str, Any]) -> dict[str, Any]:
    """Return those of some keys that have values of their own."""
    values = {key: getattr(section, key) for key in keys}
    return {key: x for key, x in values.items() if x is not None}


def checked(section: OptimizerRecipe) -> OptimizerRecipe:
    """Return a section in which keys with usual values are not given.

    Raises:
        UserError: the optimizer or schedule is unknown, or a key would change
            nothing.
    """
    kind, make = kind_of(section.name), SCHEDULES[section.schedule]
    own: dict[str, Any] = {}
    for keys, taken, reason in (
        (
            OF_OPTIMIZERS,
            usual(kind, OF_OPTIMIZERS),
            f"name is {section.name!r}",
        ),
        (
            OF_SCHEDULES,
            usual(make, OF_SCHEDULES),
            f"schedule is {section.schedule!r}",
        ),
        (
            (*AVERAGING,),
            {
                k: x
                for k, (kind, x) in AVERAGING.items()
                if kind == section.averaging
            },
            f"averaging is {section.averaging!r}",
        ),
    ):
        for key in keys:
            value = getattr(section, key)
            if value is not None and key not in taken:
                raise UserError(
                    f"optimizer.{key} has no effect: optimizer.{reason}"
                    f"{_takes(taken)}"
                )
            own[key] = None if value == taken.get(key) else value
    clips = [key for key in CLIPS if getattr(section, key) is not None]
    if len(clips) > 1:
        raise UserError(
            f"optimizer.{clips[0]} and optimizer.{clips[1]} exclude each "
            "other; give one of them"
        )
    if section.nesterov and not section.momentum and section.name == "sgd":
        raise UserError(
            "optimizer.nesterov has no effect: optimizer.momentum is 0"
        )
    return dataclasses.replace(section, **own)


def _takes(taken: dict[str, Any]) -> str:
    return f", whose keys are {', '.join(taken)}" if taken else ""
