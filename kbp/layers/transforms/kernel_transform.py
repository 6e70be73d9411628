"""The base class of transforms that a kernel passes through before use."""

from typing import Any

import keras


class KernelTransform(keras.layers.Layer):
    """A Keras layer from a kernel to a tensor of the same shape.

    `TransformedLayer` applies it in the kernel's stored precision: under
    mixed precision the result is rounded once, by the layer that uses it.

    Attributes:
        reads_inputs: whether `call` takes the layer's `inputs` too.
        rounds: whether it rounds to what a file in eight bits holds.
    """

    reads_inputs = False
    rounds = False

    def __init__(self, **kwargs: Any):
        # Keras would cast by the policy's compute type even without autocast.
        kwargs.setdefault("dtype", keras.config.dtype_policy().variable_dtype)
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)

    def compute_output_shape(
        self, kernel_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        return kernel_shape
