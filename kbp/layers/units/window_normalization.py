"""Normalization by the statistics of a window, and its inverse."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class WindowNormalization(WideLayer):
    """Remove a window's level and scale, or restore them.

        y = (x - mean) / deviation      inverted:   y = x * deviation + mean

    A network between the layer and its inverse takes data in any units and
    answers in them. The layer moves the channels before the time, because a
    `.tflite` file normalizes faster where a channel's values are adjacent.
    It computes in float32 whatever its precision is, and answers in it where
    it restores the units.

    Args:
        invert: whether level and scale are restored.

    Call arguments:
        inputs: tensor `(batch, time, channels)`, inverted
            `(batch, channels, time)`.
        statistics: tensor `(batch, channels, 2)`, of `WindowStatistics`.

    Returns:
        Tensor `(batch, channels, time)`, inverted `(batch, time, channels)`.

    Example:
    >>> import keras, kbp
    >>> x = keras.ops.reshape(keras.ops.array([1.0, 3.0, 5.0, 7.0]), (1, 4, 1))
    >>> statistics = kbp.layers.WindowStatistics()(x)
    >>> y = kbp.layers.WindowNormalization()(x, statistics)
    >>> y.numpy().ravel().round(2)
    array([-1.34, -0.45,  0.45,  1.34], dtype=float32)

    Reference:
        Kim et al., Reversible Instance Normalization for Accurate Time-Series
        Forecasting against Distribution Shift, ICLR 2022.
    """

    def __init__(self, *, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.invert = invert

    def call(self, inputs: Tensor, statistics: Tensor) -> Tensor:
        x, statistics = (ops.cast(t, self.wide) for t in (inputs, statistics))
        mean, deviation = statistics[..., :1], statistics[..., 1:]
        if self.invert:
            return ops.transpose(x * deviation + mean, (0, 2, 1))
        y = (ops.transpose(x, (0, 2, 1)) - mean) / deviation
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(
        self, inputs_shape: Shape, statistics_shape: Shape
    ) -> Shape:
        batch, rows, columns = inputs_shape
        return (batch, columns, rows)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "invert": self.invert}
