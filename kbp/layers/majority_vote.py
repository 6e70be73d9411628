"""The votes of several classifiers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class MajorityVote(keras.layers.Layer):
    """The share of votes that each class gets, one vote for each input.

        y_c = |{m : argmax(x_m) = c}| / n

    A vote passes no gradient, and LiteRT counts it in float.

    Call arguments:
        inputs: list of `n` tensors `(..., classes)`, scores of classes.

    Returns:
        Tensor `(..., classes)`, which sums to 1.

    Raises:
        ValueError: there are fewer than two inputs.

    Example:
    >>> import numpy as np, kbp
    >>> scores = np.array([[[2.0, 1.0]], [[0.0, 3.0]], [[0.5, 0.1]]])
    >>> kbp.layers.MajorityVote()([*scores]).numpy().round(2)
    array([[0.67, 0.33]], dtype=float32)
    """

    def build(self, input_shape: list[Shape]) -> None:
        if not isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError(
                f"Layer {self.name} counts the votes of a list of two or more "
                f"tensors. Received shapes: {input_shape}"
            )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        votes = [
            ops.one_hot(
                ops.argmax(x, axis=-1), x.shape[-1], dtype=self.compute_dtype
            )
            for x in inputs
        ]
        return sum(votes[1:], votes[0]) / len(votes)

    def compute_output_shape(self, input_shape: list[Any]) -> Shape:
        return input_shape[0]
