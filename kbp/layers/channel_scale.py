"""A layer that multiplies each channel by a factor."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class ChannelScale(keras.layers.Layer):
    """Multiply each channel by a factor of its own, or of its group.

        y_c = w_g(c) x_c

    `kbp.sparsity.apply_dtm(granularity="channel")` puts it behind the
    BatchNormalization of a convolution, with a `DTM` on `w`: a mask on the
    convolution's kernel would be normalized away. `strip` and `shrink` fold
    it into the layer before it.

    Args:
        arrangements: for each kind of place where the layer is used, the
            number of each channel's factor there, -1 for a channel that has
            none. `[[0, 0, 1, 1]]` are two factors for pairs of neighbours. By
            default each channel has its own.

    Call arguments:
        inputs: tensor `(..., channels)`.
        arrangement: number of the arrangement to use.

    Returns:
        Tensor of the inputs' shape.

    Raises:
        ValueError: an arrangement is empty, is not of whole numbers, leaves
            out a factor of another, or has another length than there are
            channels.

    Example:
    >>> import keras, kbp
    >>> kbp.layers.ChannelScale()(keras.ops.ones((2, 5, 4))).shape
    TensorShape([2, 5, 4])
    """

    def __init__(
        self, *, arrangements: Sequence[Sequence[int]] = (), **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.arrangements = [[int(n) for n in row] for row in arrangements]
        found = [{*row} - {-1} for row in self.arrangements]
        if any(f != {*range(len(f))} or f != found[0] or not f for f in found):
            raise ValueError(
                "Argument `arrangements` must be lists of the same numbers "
                "from 0 on, with -1 where there is no factor. Received: "
                f"arrangements={arrangements}"
            )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] is None:
            raise ValueError(
                f"Layer {self.name} must know the number of channels. "
                f"Received: input shape {tuple(input_shape)}"
            )
        size = input_shape[-1]
        if self.arrangements:
            size = max(self.arrangements[0]) + 1
        self.kernel = self.add_weight(
            name="scale", shape=(size,), initializer="ones"
        )

    def call(self, inputs: Tensor, arrangement: int = 0) -> Tensor:
        kernel = ops.cast(self.kernel, inputs.dtype)
        if self.arrangements:
            numbers = self.arrangements[arrangement]
            if len(numbers) != inputs.shape[-1]:
                raise ValueError(
                    f"Argument `arrangements` of layer {self.name} must number "
                    f"each channel. Received: {len(numbers)} numbers, input "
                    f"shape {tuple(inputs.shape)}"
                )
            padded = ops.concatenate([kernel, ops.ones((1,), kernel.dtype)])
            last = padded.shape[0] - 1
            kernel = ops.take(
                padded, np.where(np.less(numbers, 0), last, numbers)
            )  # (channels,)
        return inputs * kernel

    def spread(self, factors: np.ndarray, arrangement: int = 0) -> np.ndarray:
        """Return each channel's factor, `(channels,)`; 1 where it has none."""
        if not self.arrangements:
            return factors
        padded = np.append(factors, np.ones(1, factors.dtype))
        return padded[self.arrangements[arrangement]]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "arrangements": self.arrangements}
