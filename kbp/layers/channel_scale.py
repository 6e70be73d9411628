"""A layer that multiplies each channel by a factor."""

from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_integer
from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class ChannelScale(keras.layers.Layer):
    """Multiply each channel by a factor of its own.

        y_c = w_c x_c

    `kbp.sparsity.apply_dtm(granularity="channel")` puts it behind the
    BatchNormalization of a convolution, with a `DTM` on `w`: a mask on the
    convolution's kernel would be normalized away. `strip` and `shrink` fold
    it into the layer before it.

    Args:
        repeats: number of neighbouring channels that share one factor, e.g.
            the features of an attention head.

    Call arguments:
        inputs: tensor `(..., channels)`, channels divisible by `repeats`.

    Returns:
        Tensor of the inputs' shape.

    Raises:
        ValueError: `repeats` is not positive or does not divide the channels,
            or these are unknown.

    Example:
    >>> import keras, kbp
    >>> kbp.layers.ChannelScale()(keras.ops.ones((2, 5, 4))).shape
    TensorShape([2, 5, 4])
    """

    def __init__(self, *, repeats: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer(repeats=repeats)
        self.repeats = repeats
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is None or channels % self.repeats:
            raise ValueError(
                "Argument `repeats` must divide the channels. Received: "
                f"repeats={self.repeats}, input shape {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="scale", shape=(channels // self.repeats,), initializer="ones"
        )

    def call(self, inputs: Tensor) -> Tensor:
        kernel = self.kernel
        if self.repeats > 1:
            kernel = ops.repeat(kernel, self.repeats)  # (channels,)
        return inputs * ops.cast(kernel, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "repeats": self.repeats}
