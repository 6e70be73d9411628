"""A layer that answers in the data's own units."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Shape, Tensor


class WithStatistics(keras.layers.Layer):
    """Base of layers that know mean and deviation of the data's numbers.

    They compute in float32 whatever their precision is, because numbers in
    their own units may have any size.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)

    def add_statistics(self, count: int) -> None:
        """Make the weights: of each number its mean and its deviation."""
        for name, initializer in (("mean", "zeros"), ("deviation", "ones")):
            weight = self.add_weight(
                name=name,
                shape=(count,),
                initializer=initializer,
                dtype="float32",
                autocast=False,
                trainable=False,
            )
            setattr(self, name, weight)

    def set_statistics(
        self, *, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        """Set mean and standard deviation of the numbers.

        Args:
            mean: of each, in the order of their columns.
            deviation: likewise, positive.
        """
        self.mean.assign(np.asarray(mean, "float32"))
        self.deviation.assign(np.asarray(deviation, "float32"))


@keras.saving.register_keras_serializable(package="kbp")
class InverseStandardization(WithStatistics):
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
    >>> layer(np.array([[0.0], [-2.0]])).numpy()
    array([[1000000.],
           [ 800000.]], dtype=float32)
    """

    def build(self, input_shape: Shape) -> None:
        self.add_statistics(int(input_shape[-1] or 0))

    def call(self, inputs: Tensor) -> Tensor:
        return ops.cast(inputs, "float32") * self.deviation + self.mean

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
