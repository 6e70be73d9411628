"""Detection of gradients that are not finite, and of where they begin."""

from typing import Any

import keras
import numpy as np

from kbp.graph import flatten, nodes
from kbp.optimizers.averaging import inner_optimizer
from kbp.optimizers.summing import steps_of
from kbp.training.techniques.technique import Logs


class DivergedError(FloatingPointError):
    """Too many steps in a row had gradients that were not finite.

    Attributes:
        step: number of the last skipped step, from 0.
    """

    def __init__(self, step: int):
        super().__init__(f"The gradients of step {step} are not finite.")
        self.step = step


class FiniteGradients(keras.callbacks.Callback):
    """Stops a training whose gradients stay infinite or not a number.

    The optimizer skips such a step and counts it; a single one is harmless, and
    so are as many as it takes to find a loss scale.

    Args:
        most: number of skipped steps in a row that stops the training.

    Raises:
        DivergedError: that many steps were skipped in a row.
    """

    def __init__(self, most: int = 5):
        super().__init__()
        self.most = most

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        optimizer = inner_optimizer(self.model)
        if optimizer.skipped_in_a_row >= self.most + optimizer.expected_skips:
            raise DivergedError(steps_of(optimizer) - 1)


def first_not_finite(model: keras.Model, batch: tuple[Any, ...]) -> str | None:
    """Return the place where values of a batch are first not finite.

    Args:
        model: a functional model.
        batch: inputs and what else `fit` takes.

    Returns:
        The first layer with such outputs or the data, in words, or `None` if
        all values are finite.
    """
    inputs, *_ = batch
    if not all(np.isfinite(x).all() for x in keras.tree.flatten(inputs)):
        return "what the data hold"
    uses = nodes(flatten(model))
    made = {id(x) for use in uses for x in use.outputs}
    begin = {
        x.name: x for use in uses for x in use.inputs if id(x) not in made
    }  # the model's inputs
    if not isinstance(inputs, dict):
        names = [x.name for x in model.inputs]
        inputs = dict(zip(names, keras.tree.flatten(inputs), strict=True))
    inside = keras.Model([*begin.values()], [[*use.outputs] for use in uses])
    found = inside([inputs[name] for name in begin], training=True)
    for use, values in zip(uses, found, strict=True):
        if not all(np.isfinite(x).all() for x in values):
            return f"layer {use.operation.name}"
    return None
