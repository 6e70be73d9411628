"""A transform that bounds a kernel's gradient by the norm of the input."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.layers.transformed import TransformedLayer
from kbp.layers.transforms.kernel_transform import KernelTransform


@keras.saving.register_keras_serializable(package="kbp")
class PathNormBound(KernelTransform):
    """Rescale a kernel's gradient so that the layer's input bounds it.

    The kernel passes unchanged. In training its gradient is shortened, never
    turned, to

        norm2(dL/dW) <= gamma norm2(a(l-1))

    `norm2` is the Euclidean norm of all entries; of the input `a(l-1)` it is
    the root mean square over the batch's examples, so that the bound does not
    depend on the batch size. The bound acts on the gradient that flows back, so
    do not use it with a scaled loss (`loss_scale_factor`, mixed float16); under
    `tf.distribute` each replica bounds its own part.

    Args:
        gamma: positive factor of the bound.

    Call arguments:
        kernel: any tensor.
        training: bool; the gradient is bounded in training alone.
        inputs: the layer's input, `(batch, ...)`.

    Returns:
        The kernel.

    Raises:
        ValueError: `gamma` is not positive.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(3)
    >>> bounded = kbp.layers.TransformedLayer(
    ...     dense, [kbp.layers.PathNormBound(0.1)]
    ... )
    >>> bounded(keras.ops.ones((2, 5)), training=True).shape
    TensorShape([2, 3])
    """

    reads_inputs = True

    def __init__(self, gamma: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not (gamma > 0 and math.isfinite(gamma)):
            raise ValueError(
                "Argument `gamma` must be positive and finite. "
                f"Received: gamma={gamma}"
            )
        self.gamma = gamma

    def call(
        self,
        kernel: Tensor,
        training: bool = False,
        inputs: Tensor | None = None,
    ) -> Tensor:
        if not training or inputs is None:
            return kernel
        inputs = ops.stop_gradient(ops.cast(inputs, kernel.dtype))
        examples = ops.cast(ops.shape(inputs)[0], kernel.dtype)
        norm = ops.sqrt(ops.sum(ops.square(inputs)) / examples)
        # `+ 0.0`: TensorFlow wants a tensor there, not the variable.
        return _bounded(kernel + 0.0, self.gamma * norm)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


@ops.custom_gradient
def _bounded(
    kernel: Tensor, limit: Tensor
) -> tuple[Tensor, Callable[..., Any]]:
    def gradient(
        *args: Tensor, upstream: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if upstream is None:
            (upstream,) = args
        norm = ops.sqrt(ops.sum(ops.square(upstream)))
        # A zero gradient stays one; a tiny one is not divided by.
        share = ops.where(norm > limit, limit / ops.maximum(norm, 1e-30), 1.0)
        return upstream * share, ops.zeros_like(limit)

    return kernel + 0.0, gradient


def bounded(
    layer: keras.layers.Layer, gamma: float | None
) -> keras.layers.Layer:
    """Wrap a layer with a `PathNormBound`, unless `gamma` is `None`."""
    if gamma is None:
        return layer
    return TransformedLayer(layer, [PathNormBound(gamma)])
