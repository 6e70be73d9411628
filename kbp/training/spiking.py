"""Spiking networks of finished runs."""

from typing import Any

import keras
import numpy as np

from kbp import spiking
from kbp.errors import UserError
from kbp.graph import flatten
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.schedules import warmup_cosine
from kbp.tasks import Task

_WARMUP = 0.1  # of the steps


def is_spiking(model: keras.Model) -> bool:
    """Say whether a model has spiking neurons."""
    return any(
        isinstance(layer, spiking.IntegrateAndFire)
        for layer in flatten(model).layers
    )


def draws_spikes(model: keras.Model) -> bool:
    """Say whether a model draws spikes, anew in each call."""
    return any(
        isinstance(layer, spiking.PoissonRate)
        for layer in flatten(model).layers
    )


def spread(task: Task, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and classes of test examples from all over the split.

    Args:
        task: whose data may be in the order of their classes.
        count: how many, or all of fewer.
    """
    inputs = task.inputs("test")
    most = min(count, len(inputs))
    chosen = np.linspace(0, len(inputs) - 1, most).round().astype(int)
    labels = task.splits.test.labels
    return np.asarray(inputs[chosen]), np.asarray(labels[chosen])


def fine_tuned(
    model: keras.Model,
    task: Task,
    *,
    levels: int,
    epochs: int,
    learning_rate: float,
    **conversion: Any,
) -> keras.Model:
    """Return a network whose activations round as spikes, trained on.

    Args:
        model: a trained one, left as it is.
        task: whose training examples and loss it is trained by.
        levels: of the rounding.
        epochs: of the training, one or more.
        learning_rate: its peak, behind a short rise; it falls to 0.
        **conversion: other arguments of `kbp.spiking.to_clip_floor_shift`.

    Raises:
        ValueError: a layer cannot become spiking, which is named.
        FloatingPointError: the loss became infinite or NaN.
    """
    rounded = spiking.to_clip_floor_shift(
        model, task.calibration_batches(), levels=levels, **conversion
    )
    steps = epochs * task.steps
    schedule = warmup_cosine(
        learning_rate, steps=steps, warmup_steps=int(_WARMUP * steps)
    )
    rounded.compile(HybridOptimizer(schedule), **task.compile_options())
    history = rounded.fit(
        task.training_batches(seed=task.recipe.training.seed),
        epochs=epochs,
        steps_per_epoch=task.steps,
        shuffle=False,
        verbose=0,
    )
    if not np.isfinite(history.history["loss"]).all():
        raise FloatingPointError(
            "The loss became infinite or NaN; give a smaller --learning-rate."
        )
    return rounded


def scores_over_time(model: keras.Model, task: Task) -> tuple[float, ...]:
    """Return the test score of a spiking network after each time step."""
    outputs = spiking.outputs_over_time(model, task.batches("test"))
    return tuple(task.score(x) for x in outputs)


def check_task(task: Task) -> None:
    """Refuse tasks whose outputs are no scores of classes.

    Raises:
        UserError: the task is another one.
    """
    if not task.votes:
        raise UserError(
            f"task {task.name!r}: spiking networks are made of models that "
            "name classes"
        )
