"""Biases on the grid on which a .tflite file holds them.

LiteRT keeps the bias of a convolution or a Dense layer as an integer multiple
of the product of the input's scale and the kernel's. Where channels are few or
of different ranges, that is several steps of the output: a model that does not
round its biases is not what runs.
"""

from typing import Any

import keras
from keras import ops

from kbp.layers import TransformedLayer

Tensor = Any  # of any backend, or symbolic


def round_to_grid(bias: Tensor, scale: Tensor) -> Tensor:
    """Return a bias rounded to multiples of a scale, where that is positive.

    Gradients pass as if nothing had been rounded.

    Args:
        bias: tensor `(..., channels)`.
        scale: tensor `()` or `(channels,)`.
    """
    wide, scale = ops.cast(bias, "float32"), ops.cast(scale, "float32")
    known = scale > 0
    safe = ops.where(known, scale, 1.0)
    rounded = ops.where(known, ops.round(wide / safe) * safe, wide)
    return bias + ops.cast(ops.stop_gradient(rounded - wide), bias.dtype)


@keras.saving.register_keras_serializable(package="kbp")
class QuantizedLayer(TransformedLayer):
    """A layer whose kernel is rounded, and its bias too.

    The last transform is the kernel's `FakeQuantize`.

    Call arguments:
        inputs: as the layer's inside, one tensor.
        input_scale: of the input's range, tensor `()`; without it the bias
            stays as it is.
        training: bool, passed on to the transforms.
        return_scale: bool, return the scale of the bias instead.

    Returns:
        What the layer inside returns; or the scale of its bias, tensor `()` or
        `(channels,)`.
    """

    def call(  # type: ignore[override]  # in files, the scale comes second
        self,
        inputs: Tensor,
        input_scale: Tensor | None = None,
        training: bool = False,
        return_scale: bool = False,
    ) -> Tensor:
        if return_scale:
            return self._bias_scale(input_scale)
        return self.run(
            inputs, self.replacements(inputs, training, input_scale)
        )

    def _bias_scale(self, input_scale: Tensor) -> Tensor:
        return input_scale * self.transforms[-1].scale()

    def replacements(
        self,
        inputs: Tensor,
        training: bool,
        input_scale: Tensor | None = None,
    ) -> dict[int, Tensor]:
        found = super().replacements(inputs, training)
        bias = getattr(self.innermost, "bias", None)
        if input_scale is not None and bias is not None:
            found[id(bias)] = round_to_grid(
                ops.convert_to_tensor(bias), self._bias_scale(input_scale)
            )
        return found

    def compute_output_spec(
        self,
        inputs: Tensor,
        input_scale: Tensor | None = None,
        training: bool = False,
        return_scale: bool = False,
    ) -> keras.KerasTensor:
        if return_scale:
            shape = self.transforms[-1].range_shape
            return keras.KerasTensor(shape, "float32")
        return super().compute_output_spec(inputs)


@keras.saving.register_keras_serializable(package="kbp")
class GridNormalization(keras.layers.BatchNormalization):
    """BatchNormalization that gives a convolution a bias on the file's grid.

    LiteRT folds it into the convolution before it. What is added to each
    channel at inference is rounded to multiples of the scale of that
    convolution's bias times this layer's factor.

    Call arguments:
        inputs: tensor `(..., channels)`.
        bias_scale: of a bias of the convolution, tensor `()` or `(channels,)`.
        training: bool.
    """

    def call(
        self,
        inputs: Tensor,
        bias_scale: Tensor | None = None,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        outputs = super().call(inputs, training=training, mask=mask)
        if bias_scale is None:
            return outputs
        mean, variance, bias_scale = (
            ops.cast(x, "float32")
            for x in (self.moving_mean, self.moving_variance, bias_scale)
        )
        factor = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * ops.cast(self.gamma, "float32")
        bias = -mean * factor
        if self.center:
            bias = bias + ops.cast(self.beta, "float32")
        change = round_to_grid(bias, bias_scale * ops.abs(factor)) - bias
        return outputs + ops.cast(ops.stop_gradient(change), outputs.dtype)
