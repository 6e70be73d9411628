"""The optimizer of a recipe's section `[optimizer]`."""

from collections.abc import Callable
from typing import Any

import keras

from kbp.optimizers import HybridOptimizer, SynchronizedOptimizer
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import SCHEDULES, make_schedule
from kbp.optimizers.summing import SummingOptimizer
from kbp.recipes.optimizer import (
    AVERAGING,
    CLIPS,
    HYBRID,
    OF_OPTIMIZERS,
    OF_SCHEDULES,
    given,
    kind_of,
    usual,
)
from kbp.recipes.training import OptimizerRecipe


def make_optimizer(
    section: OptimizerRecipe,
    model: keras.Model,
    learning_rate: float,
    *,
    steps: int,
    epoch_steps: int,
    wrapped: Callable[[Any], Any] = lambda schedule: schedule,
) -> SummingOptimizer:
    """Return the optimizer of a stage, not built yet.

    Args:
        section: of the recipe.
        model: that it trains; its kernels alone decay.
        learning_rate: peak of the learning rate.
        steps: number of steps of the stage.
        epoch_steps: number of steps of an epoch.
        wrapped: `wrapped(schedule) -> schedule`, which takes its place.
    """
    schedule = make_schedule(
        section.schedule,
        learning_rate,
        steps=steps,
        warmup_steps=round(section.warmup * steps),
        epoch_steps=epoch_steps,
        **given(section, usual(SCHEDULES[section.schedule], OF_SCHEDULES)),
    )
    schedule = wrapped(schedule)
    kind = kind_of(section.name)
    own = given(section, usual(kind, OF_OPTIMIZERS))
    common = _common(section, steps)
    if section.name == HYBRID:
        optimizer = HybridOptimizer(schedule, **own, **common)
    else:
        optimizer = SynchronizedOptimizer(kind(**own), schedule, **common)
    decay_kernels_alone(optimizer, model)
    return optimizer


def _common(section: OptimizerRecipe, steps: int) -> dict[str, Any]:
    """Return what every optimizer takes."""
    options: dict[str, Any] = given(section, dict.fromkeys(CLIPS))
    options["weight_decay"] = section.weight_decay or None
    options["max_skipped_steps"] = 2**31 - 1  # `FiniteGradients` decides
    if (micro_steps := section.gradient_accumulation_steps) > 1:
        options["gradient_accumulation_steps"] = micro_steps
    values = {key: usual for key, (_, usual) in AVERAGING.items()}
    values |= given(section, values)
    if section.averaging != "none":
        options["use_ema"] = True
        options["ema_momentum"] = values["averaging_momentum"]
    if section.averaging == "tail":
        begin = values["averaging_begin"] * (steps // micro_steps)
        options["average_from"] = max(1, round(begin))
    return options
