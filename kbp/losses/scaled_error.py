"""An error of numbers in units of their deviation."""

from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_one_of
from kbp._utils.types import Tensor
from kbp.losses.shapes import alike

ERRORS = ("mse", "mae", "huber")


@keras.saving.register_keras_serializable(package="kbp")
class ScaledError(keras.losses.Loss):
    """Judge numbers in their own units as if they were standardized.

        l = f((y - p) / s)

    with `f(e) = e^2` ("mse"), `|e|` ("mae"), or Huber's, which is `e^2 / 2` up
    to 1 and `|e| - 1/2` beyond ("huber"). A learning rate fits targets of any
    unit then.

    Args:
        scale: `s`, the standard deviation of the training targets.
        error: name of `f`.
        name: of the loss.

    Call arguments:
        y_true: labels `y`, `(batch, ...)`.
        y_pred: outputs `p`, of the same shape; as in Keras's losses, either
            may lack a last axis of size 1.

    Returns:
        A scalar, the reduction of a mean over the last axis.

    Raises:
        ValueError: the scale is not positive, there is no such error, or
            labels and outputs have different shapes.

    Example:
    >>> import numpy as np, kbp
    >>> loss = kbp.losses.ScaledError(1e6)
    >>> float(loss(np.array([[5e6]]), np.array([[8e6]])))
    9.0

    Reference:
        Huber, Robust Estimation of a Location Parameter, 1964.
    """

    def __init__(
        self,
        scale: float,
        error: str = "mse",
        name: str = "scaled_error",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        check_one_of(ERRORS, error=error)
        if not 0 < scale < float("inf"):
            raise ValueError(
                "Argument `scale` must be positive, and finite. "
                f"Received: scale={scale}"
            )
        self.scale, self.error = float(scale), error

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the mean over the last axis, before it is reduced."""
        y_true, y_pred = alike(y_true, y_pred)
        error = (y_true - y_pred) / self.scale
        size = ops.abs(error)
        if self.error == "huber":
            small = ops.minimum(size, 1.0)
            size = small * (size - 0.5 * small)
        elif self.error == "mse":
            size = ops.square(error)
        return ops.mean(size, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "error": self.error,
        }
