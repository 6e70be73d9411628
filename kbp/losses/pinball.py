"""The loss whose least expectation is at a quantile."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.losses.shapes import alike


@keras.saving.register_keras_serializable(package="kbp")
class Pinball(keras.losses.Loss):
    """The mean of the pinball loss, which a model of a quantile has least.

    What lies below the label costs `q` for each unit, what lies above it
    `1 - q`, so that the best answer is exceeded with a probability of `1 - q`:

        L = mean(max(q * (y - f), (q - 1) * (y - f)))

    With `q = 1/2`, the default, it is half the mean absolute error, and the
    best answer is the median.

    Args:
        quantile: `q`, in (0, 1).

    Call arguments:
        y_true: labels `y`, `(batch, ...)`.
        y_pred: outputs `f`, of the same shape; as in Keras's losses, either
            may lack a last axis of size 1.

    Returns:
        A scalar, the reduction of a mean over the last axis.

    Raises:
        ValueError: the quantile is out of range, or labels and outputs have
            different shapes.

    Example:
    >>> import numpy as np, kbp
    >>> loss = kbp.losses.Pinball(0.9)
    >>> round(float(loss(np.array([[1.0]]), np.array([[0.0]]))), 3)
    0.9
    >>> round(float(loss(np.array([[0.0]]), np.array([[1.0]]))), 3)
    0.1

    Reference:
        Koenker and Bassett, Regression Quantiles, 1978.
    """

    def __init__(
        self, quantile: float = 0.5, *, name: str = "pinball", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        if not 0 < quantile < 1:
            raise ValueError(
                "Argument `quantile` must be between 0 and 1. "
                f"Received: quantile={quantile}"
            )
        self.quantile = float(quantile)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the mean over the last axis, before it is reduced."""
        y_true, y_pred = alike(y_true, y_pred)
        gap = y_true - y_pred
        costs = ops.maximum(self.quantile * gap, (self.quantile - 1) * gap)
        return ops.mean(costs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantile": self.quantile}
