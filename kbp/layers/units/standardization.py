"""Standardization of columns by statistics that the layer holds."""

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class Standardization(WideLayer):
    """Take each column's mean away and divide by its deviation.

        y = (x - mean) / deviation

    Both are weights that are set and not trained, so a saved model takes the
    data's own units. It stays in float in an 8-bit file, which
    `keras.layers.Normalization` does not.

    Call arguments:
        inputs: tensor `(batch, ..., columns)`.

    Returns:
        Tensor of the same shape.

    Example:
    >>> import numpy as np, kbp
    >>> layer = kbp.layers.Standardization()
    >>> layer.build((None, 2))
    >>> layer.set_weights([np.array([1.0, 10.0]), np.array([1.0, 5.0])])
    >>> layer(np.array([[2.0, 20.0]])).numpy()
    array([[1., 2.]], dtype=float32)
    """

    def build(self, input_shape: Shape) -> None:
        self.add_wide_weights(input_shape[-1:], mean="zeros", deviation="ones")

    def call(self, inputs: Tensor) -> Tensor:
        y = (ops.cast(inputs, self.wide) - self.mean) / self.deviation
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
