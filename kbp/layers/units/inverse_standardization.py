"""A layer that answers in the data's own units."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class InverseStandardization(WideLayer):
    """Bring standardized numbers back to the units of the data.

        y_j = deviation_j x_j + mean_j

    Behind the last layer of a network, whose numbers are then of one size
    whatever the unit is. Mean and deviation are set by `set_statistics`, 0 and
    1 before. The layer computes and answers in float32.

    Call arguments:
        inputs: tensor `(..., numbers)`.

    Returns:
        Tensor of the inputs' shape, float32.

    Example:
    >>> import numpy as np, kbp
    >>> layer = kbp.layers.InverseStandardization()
    >>> layer.build((None, 1))
    >>> layer.set_statistics(mean=[1e6], deviation=[1e5])
    >>> layer(np.array([[0.0], [-2.0]])).numpy().tolist()
    [[1000000.0], [800000.0]]
    """

    def build(self, input_shape: Shape) -> None:
        self.add_wide_weights(input_shape[-1:], mean="zeros", deviation="ones")

    def set_statistics(
        self, *, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        """Set mean and standard deviation of the numbers.

        Args:
            mean: of each number.
            deviation: likewise, positive.
        """
        self.mean.assign(np.asarray(mean, "float32"))
        self.deviation.assign(np.asarray(deviation, "float32"))

    def call(self, inputs: Tensor) -> Tensor:
        return ops.cast(inputs, self.wide) * self.deviation + self.mean

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
