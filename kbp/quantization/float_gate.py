"""Layers that mark what stays in float, and feed it."""

from typing import Any

import keras
from keras import ops

Tensor = Any  # of any backend, or symbolic


@keras.saving.register_keras_serializable(package="kbp")
class FloatGate(keras.layers.Layer):
    """Pass a tensor on to a layer that is left in float on purpose.

    Export finds it in the model and lets that layer's operations be float. If
    all that goes in is rounded, one tensor is multiplied by a `One`: LiteRT's
    converter would otherwise compute in integers what it can, with ranges that
    the model does not round to.

    Args:
        layer: name of the layer that stays in float.

    Call arguments:
        inputs: tensor.
        one: tensor `()`, of `One`; without it, the gate only marks the layer.

    Returns:
        Tensor of the same shape.

    Example:
    >>> import numpy as np
    >>> from kbp.quantization import FloatGate
    >>> np.asarray(FloatGate("softmax")(np.array([0.5], "float32")))
    array([0.5], dtype=float32)
    """

    def __init__(self, layer: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs: Tensor, one: Tensor | None = None) -> Tensor:
        return inputs if one is None else inputs * one

    def compute_output_spec(
        self, inputs: Tensor, one: Tensor | None = None
    ) -> keras.KerasTensor:
        # Integers stay integers, whatever floats the layer computes in.
        floats = keras.backend.is_float_dtype(inputs.dtype)
        return keras.KerasTensor(
            inputs.shape, self.compute_dtype if floats else inputs.dtype
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": self.layer}


@keras.saving.register_keras_serializable(package="kbp")
class One(keras.layers.Layer):
    """Return a one that LiteRT's converter cannot know to be one.

    Call arguments:
        inputs: tensor of numbers far below 1e15.

    Returns:
        Tensor `()`, exactly 1 in float32.

    Example:
    >>> import numpy as np
    >>> from kbp.quantization import One
    >>> float(One()(np.array([[2.0, 3.0]], "float32")))
    1.0
    """

    TINY = 1e-30  # vanishes beside 1

    def call(self, inputs: Tensor) -> Tensor:
        first = inputs[tuple([slice(0, 1)] * len(inputs.shape))]
        # The sum is 0 of an empty batch, which a replica may be given.
        value = ops.sum(ops.cast(first, self.compute_dtype))
        return 1 + self.TINY * ops.square(value)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[()]:
        return ()
