"""Gradients that are not finite: they stop a training, and have a cause."""

from typing import Any

import keras
import numpy as np

from kbp.graph import flatten, nodes
from kbp.training.callbacks import Logs


class DivergedError(FloatingPointError):
    """Gradients were not finite too often.

    Attributes:
        step: the last of those that were skipped, from 0.
    """

    def __init__(self, step: int):
        super().__init__(f"The gradients of step {step} are not finite.")
        self.step = step


class FiniteGradients(keras.callbacks.Callback):
    """Stop a training whose gradients stay infinite or not a number.

    `HybridOptimizer` skips such a step and counts it; one batch in a thousand
    may well be so.

    Args:
        most: so many in a row are too many.
    """

    def __init__(self, most: int = 5):
        super().__init__()
        self.most = most

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        if optimizer.skipped_in_a_row >= self.most:
            raise DivergedError(int(optimizer.iterations.numpy()) - 1)


def first_not_finite(model: keras.Model, batch: tuple[Any, Any]) -> str | None:
    """Name the first layer that makes values of a batch that are not finite.

    Args:
        model: functional.
        batch: inputs and labels.
    """
    inputs, _ = batch
    if not np.isfinite(inputs).all():
        return "what the data hold"
    uses = nodes(flatten(model))
    (begin,) = uses[0].inputs  # the model's input
    for use in uses:
        values = keras.Model(begin, use.outputs)(inputs, training=True)
        if not all(np.isfinite(x).all() for x in keras.tree.flatten(values)):
            return f"layer {use.operation.name}"
    return None
