"""Multiplying what a layer computes, in its weights."""

import keras
import numpy as np

from kbp.graph.layers import copy_layer, unwrapped, values_of
from kbp.graph.regularizers import multiply
from kbp.graph.traits import traits_of


def kernel_of(layer: keras.Operation) -> keras.Variable:
    """Return the table of weights that a layer's traits name.

    Args:
        layer: a built layer.

    Raises:
        ValueError: they name none.

    Example:
    >>> import keras, kbp
    >>> embedding = keras.layers.Embedding(7, 3)
    >>> embedding.build()
    >>> tuple(kbp.graph.kernel_of(embedding).shape)
    (7, 3)
    """
    name = traits_of(layer).kernel
    if name is None:
        raise ValueError(f"Layer {layer.name} has no traits of a kernel.")
    return getattr(layer, name)


def scale_outputs(layer: keras.layers.Layer, factors: np.ndarray) -> None:
    """Multiply what a layer gives, before its activation, by factors.

    Args:
        layer: a BatchNormalization, or a layer whose traits name a kernel.
        factors: one for each channel given, `(channels,)`.

    Raises:
        ValueError: the layer is neither.

    Example:
    >>> import keras, numpy as np, kbp
    >>> dense = keras.layers.Dense(2)
    >>> dense.build((None, 1))
    >>> dense.set_weights([np.ones((1, 2)), np.ones(2)])
    >>> kbp.graph.scale_outputs(dense, np.array([2.0, 3.0]))
    >>> dense(np.ones((1, 1))).numpy()
    array([[4., 6.]], dtype=float32)
    """
    if isinstance(layer, keras.layers.BatchNormalization):
        kernel, others = layer.gamma, [layer.beta] if layer.center else []
        shape: tuple[int, ...] = (-1,)
    else:
        kernel, bias = kernel_of(layer), getattr(layer, "bias", None)
        others = [] if bias is None else [bias]
        traits = traits_of(layer)
        if traits.is_depthwise:
            shape = tuple(kernel.shape[-2:])  # (channels, multiplier)
        else:
            shape = (-1, *[1] * (-1 - traits.output_axis))
    multiply(layer, kernel, factors.reshape(shape))
    for variable in others:
        multiply(layer, variable, factors)


def scale_and_offset(
    norm: keras.layers.BatchNormalization,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a BatchNormalization computes of each channel at inference.

    Args:
        norm: a built layer.

    Returns:
        Factors `(channels,)`, and what it adds then.

    Example:
    >>> import keras, kbp
    >>> norm = keras.layers.BatchNormalization(epsilon=0.0)
    >>> norm.build((None, 1))
    >>> [x.tolist() for x in kbp.graph.scale_and_offset(norm)]
    [[1.0], [0.0]]
    """
    mean, variance = map(values_of, (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * values_of(norm.gamma)
    offset = values_of(norm.beta) if norm.center else 0.0
    return scale, offset - mean * scale


def folded(
    layer: keras.layers.Layer,
    norm: keras.layers.BatchNormalization,
    **changes: object,
) -> keras.layers.Layer:
    """Return a layer that computes what a BatchNormalization behind it gives.

    Args:
        layer: a built layer with a kernel and a linear activation.
        norm: of its last axis, with its statistics as they are now.
        **changes: other arguments of the layer's constructor.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(2, use_bias=False)
    >>> norm = keras.layers.BatchNormalization()
    >>> x = norm(dense(keras.ops.ones((1, 3))))
    >>> y = kbp.graph.folded(dense, norm)(keras.ops.ones((1, 3)))
    >>> bool(keras.ops.max(keras.ops.abs(x - y)) < 1e-6)
    True
    """
    new = copy_layer(layer, use_bias=True, **changes)
    inside = unwrapped(new)
    scale, offset = scale_and_offset(norm)
    scale_outputs(inside, scale)
    inside.bias.assign(values_of(inside.bias) + offset)
    return new
