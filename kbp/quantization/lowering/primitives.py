"""What a layer is made of where LiteRT computes it in several operations.

Each function takes a built layer and returns what to call in its place, which
holds new layers with the same weights. It makes them with
`part(kind, suffix, *args, **options)`, of the layer's precision and of its name
with a suffix, `None` for the name itself.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp import graph
from kbp.layers import NearestUpSampling2D
from kbp.quantization.placement import rules

Tensor = Any  # of any backend, or symbolic
Part = Callable[..., keras.layers.Layer]
Replacement = Callable[..., Any]  # a layer, or a function of tensors
named = keras.activations
# Activations that are their input times another activation.
_GATES = {named.hard_silu: named.hard_sigmoid, named.silu: named.sigmoid}


def two_by_two(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Join tensors two by two, as LiteRT does."""
    return _two_by_two(type(layer), part)


def _two_by_two(kind: type, part: Part) -> Replacement:
    """Join tensors two by two, by layers of a class."""
    same = part(layers.Identity, "same")

    @functools.cache
    def joint(left: int) -> keras.layers.Layer:
        return part(kind, f"part{left}" if left else None)

    def apply(inputs: list[Tensor]) -> Tensor:
        total, *terms = inputs
        for left, term in zip(reversed(range(len(terms))), terms, strict=True):
            total = joint(left)([total, term])
        return total if terms else same(total)

    return apply


def average(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Add tensors and divide the sum."""
    add = _two_by_two(layers.Add, part)
    return lambda inputs: add(inputs) * (1.0 / len(inputs))


def activation(
    function: Callable[..., Any], part: Part, suffix: str | None
) -> Replacement:
    """Return an activation as a layer that has a rule, or several."""
    if function is named.relu:
        return part(layers.ReLU, suffix)
    if function is named.relu6:
        return part(layers.ReLU, suffix, 6.0)
    if function is named.leaky_relu:
        return part(layers.LeakyReLU, suffix, 0.2)
    if function in _GATES:
        # LiteRT's integer HARD_SWISH takes dozens of times as long as these.
        gate = activation(_GATES[function], part, "gate")
        product = part(layers.Multiply, suffix)
        return lambda inputs: product([inputs, gate(inputs)])
    if function is named.hard_sigmoid:
        clip = part(layers.ReLU, "clip", 6.0)
        return lambda inputs: clip(inputs + 3.0) * (1.0 / 6.0)
    if isinstance(function, layers.Layer):
        new = part(type(function).from_config, suffix, function.get_config())
        if function.weights:
            new.build_from_config(function.get_build_config())
            graph.copy_weights(function, new)
        return new
    return part(layers.Activation, suffix, function)


def apart(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Take the activation out of a layer with a kernel."""
    function = graph.unwrapped(layer).activation
    if function is named.linear:
        return layer
    options: dict[str, Any] = {"activation": "linear"}
    if graph.unwrapped(layer).activity_regularizer:
        options["activity_regularizer"] = None  # it is of the activation
    linear = graph.copy_layer(layer, **options)
    suffix = getattr(function, "__name__", getattr(function, "name", "act"))
    activate = activation(function, part, suffix)
    return lambda inputs: activate(linear(inputs))


def clip(operation: keras.Operation, part: Part) -> Replacement:
    """Clip by a maximum and a minimum."""

    def apply(x: Tensor, x_min: Any = None, x_max: Any = None) -> Tensor:
        low = operation.x_min if x_min is None else x_min
        high = operation.x_max if x_max is None else x_max
        return ops.minimum(ops.maximum(x, low), high)

    return apply


def negative(operation: keras.Operation, part: Part) -> Replacement:
    """Multiply by -1."""
    return lambda x: x * -1.0


def softmax(operation: keras.Operation, part: Part) -> Replacement:
    """Return the layer of the same function."""
    return part(layers.Softmax, None, axis=operation.axis)


def total(operation: keras.Operation, part: Part) -> Replacement:
    """Multiply a mean: LiteRT's reference kernels add up another sum."""

    def apply(x: Tensor) -> Tensor:
        mean = ops.mean(x, operation.axis, operation.keepdims)
        axes = operation.axis
        if axes is None or None in (counts := [x.shape[i] for i in axes]):
            raise rules.refusal(
                operation, "give it axes of a fixed size, such as axis=-1"
            )
        return mean * float(math.prod(counts))

    return apply


def separate(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Split a separable convolution into its two."""
    if layer.data_format != "channels_last":
        raise rules.refusal(layer, "use data_format='channels_last'")
    depthwise, pointwise = graph.split_separable(layer, part)
    mix = apart(pointwise, part)
    return lambda inputs: mix(depthwise(inputs))


def enlarge(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Repeat pixels in a way that is one operation in a .tflite file."""
    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return layer
    return part(NearestUpSampling2D, None, size=layer.size)


def without_bias(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a convolution without its bias."""
    return graph.copy_layer(layer, use_bias=False)


def with_bias_of(
    norm: layers.BatchNormalization, layer: keras.layers.Layer
) -> keras.layers.Layer:
    """Return a BatchNormalization that has taken over a layer's bias."""
    new = graph.clone_layer(norm)
    new.build_from_config(norm.get_build_config())
    graph.copy_weights(norm, new)
    new.moving_mean.assign(new.moving_mean - graph.unwrapped(layer).bias)
    return new


def is_pruned(norm: layers.BatchNormalization) -> bool:
    """Say whether a BatchNormalization removes channels."""
    return norm.scale and not graph.values_of(norm.gamma).all()


def normalization(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Make a BatchNormalization affine, with its statistics as they are."""
    change = affine(layer, part, trainable=layer.trainable)
    return lambda inputs: change(inputs, *graph.scale_and_offset(layer))


def rescaling(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Make a Rescaling affine."""
    change = affine(layer, part)
    return lambda inputs: change(inputs, layer.scale, layer.offset)


def standardization(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Make a Normalization affine."""
    if layer.invert:
        raise rules.refusal(layer, "invert it as the last layer alone")
    mean, deviation = statistics(layer)
    change = affine(layer, part)
    return lambda inputs: change(inputs, 1.0 / deviation, -mean / deviation)


def statistics(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return what a Normalization takes away and divides by."""
    if np.size(layer.mean) != np.shape(layer.mean)[-1]:
        raise rules.refusal(layer, "use axis=-1 or None")
    mean, variance = (
        graph.values_of(v).ravel() for v in (layer.mean, layer.variance)
    )
    return mean, np.maximum(np.sqrt(variance), keras.config.epsilon())


def affine(
    layer: keras.layers.Layer, part: Part, trainable: bool = False
) -> Callable[[Tensor, Any, Any], Tensor]:
    """Return `scale * x + offset` of each channel, as a 1x1 convolution.

    Args:
        layer: what it takes the place of.
        part: makes layers.
        trainable: whether factors and offsets train on.
    """
    convolution = part(layers.DepthwiseConv2D, None, 1, trainable=trainable)

    def apply(inputs: Tensor, scale: Any, offset: Any) -> Tensor:
        *sizes, channels = inputs.shape[1:]
        if None in sizes and len(sizes) != 2:
            raise rules.refusal(
                layer,
                "give its input, and an EinsumDense before it, a fixed size",
            )
        if not convolution.built:
            kernel = np.broadcast_to(scale, channels).reshape(1, 1, -1, 1)
            _build(convolution, kernel, np.broadcast_to(offset, channels))
        if len(sizes) == 2:
            return convolution(inputs)
        image = (-1, 1, math.prod(sizes), channels)
        outputs = convolution(ops.reshape(inputs, image))
        return ops.reshape(outputs, (-1, *sizes, channels))

    return apply


def _build(
    layer: keras.layers.Layer, kernel: Any, *weights: Any
) -> keras.layers.Layer:
    """Build a convolution with these weights, variables or arrays."""
    layer.build((None,) * (len(kernel.shape) - 1) + (kernel.shape[-2],))
    for source, target in zip((kernel, *weights), layer.weights, strict=True):
        if isinstance(source, keras.Variable):
            graph.copy_variable(source, target)
        else:
            target.assign(source)
    return layer
