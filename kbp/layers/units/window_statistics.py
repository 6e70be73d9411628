"""A layer that computes each channel's mean and deviation over a window."""

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class WindowStatistics(WideLayer):
    """Return mean and standard deviation of each channel over time.

    Call arguments:
        inputs: tensor `(batch, time, channels)`.

    Returns:
        Tensor `(batch, channels, 2)`: the means, then the deviations. The
        deviation of a constant channel is `SMALLEST`. They are computed in
        float32 whatever the layer's precision is.

    Example:
    >>> import keras, kbp
    >>> x = keras.ops.reshape(keras.ops.array([1.0, 3.0, 5.0, 7.0]), (1, 4, 1))
    >>> kbp.layers.WindowStatistics()(x).numpy().ravel().round(2)
    array([4.  , 2.24], dtype=float32)
    """

    SMALLEST = 1e-20  # far below what any unit's values vary by

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.transpose(ops.cast(inputs, self.wide), (0, 2, 1))
        mean = ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=-1, keepdims=True)
        deviation = ops.maximum(ops.sqrt(variance), self.SMALLEST)
        return ops.concatenate([mean, deviation], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, _, channels = input_shape
        return (batch, channels, 2)
