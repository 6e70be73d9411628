"""Layers without a state, at each time step."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class OverTime(keras.layers.Wrapper):
    """Call a layer on all time steps at once, as on examples of one batch.

    `keras.layers.TimeDistributed` calls it step by step, and takes one input.

    Args:
        layer: what to call, of one input or of several.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, time, ...)`, or a list of such, whose time is
            fixed.

    Returns:
        Tensor `(batch, time, ...)`.

    Raises:
        ValueError: the time is not fixed.

    Example:
    >>> import kbp, keras
    >>> layer = kbp.spiking.OverTime(keras.layers.Conv2D(4, 3))
    >>> layer(keras.ops.ones((2, 10, 8, 8, 3))).shape
    TensorShape([2, 10, 6, 6, 4])
    """

    def build(self, input_shape: Any) -> None:
        shapes = _each(input_shape)
        if any(len(shape) < 2 or shape[1] is None for shape in shapes):
            raise ValueError(
                f"Layer {self.name} must be given (batch, time, ...) of a "
                f"fixed time. Received: shapes {shapes}"
            )
        if not self.layer.built:
            self.layer.build(_merged(input_shape))
        self.built = True

    def call(self, inputs: Any) -> Tensor:
        several = isinstance(inputs, list | tuple)
        time = (inputs[0] if several else inputs).shape[1]
        merged = [
            ops.reshape(x, (-1, *x.shape[2:]))
            for x in (inputs if several else [inputs])
        ]
        outputs = self.layer(merged if several else merged[0])
        return ops.reshape(outputs, (-1, time, *outputs.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, time, *_ = _each(input_shape)[0]
        shape = self.layer.compute_output_shape(_merged(input_shape))
        return (batch, time, *shape[1:])


def _each(shape: Any) -> Sequence[Shape]:
    """Return the shapes of one or several inputs."""
    return [shape] if not isinstance(shape[0], list | tuple) else list(shape)


def _merged(shape: Any) -> Any:
    """Return shapes of inputs whose time steps are examples."""
    if isinstance(shape[0], list | tuple):
        return [_merged(one) for one in shape]
    return (None, *shape[2:])
