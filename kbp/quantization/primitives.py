"""What a layer is made of where LiteRT computes it in several operations.

Each function takes a built layer and returns what to call in its place, which
holds new layers with the same weights.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from kbp import graph
from kbp.quantization import rules

named = keras.activations


def two_by_two(layer) -> Callable:
    """Join tensors two by two, as LiteRT does."""
    joints: dict[str, keras.layers.Layer] = {}

    def apply(inputs):
        total, *terms = inputs
        for index, term in enumerate(terms, 1):
            last = index == len(terms)
            name = layer.name if last else f"{layer.name}_{index}"
            joint = joints.setdefault(name, type(layer)(name=name))
            total = joint([total, term])
        return total

    return apply


def average(layer) -> Callable:
    """Add tensors and divide the sum."""
    add = two_by_two(layers.Add(name=f"{layer.name}_sum"))
    return lambda inputs: add(inputs) * (1.0 / len(inputs))


def activation(function: Callable, name: str) -> Callable:
    """Return an activation as a layer that has a rule, or several."""
    if function is named.relu:
        return layers.ReLU(name=name)
    if function is named.relu6:
        return layers.ReLU(6.0, name=name)
    if function is named.leaky_relu:
        return layers.LeakyReLU(0.2, name=name)
    if function is named.silu:
        gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")
        product = layers.Multiply(name=name)
        return lambda inputs: product([inputs, gate(inputs)])
    if function is named.hard_sigmoid:
        clip = layers.ReLU(6.0, name=f"{name}_relu6")
        return lambda inputs: clip(inputs + 3.0) * (1.0 / 6.0)
    if isinstance(function, layers.Layer):
        return graph.copy(function, name=name)
    return layers.Activation(function, name=name)


def apart(layer) -> Callable:
    """Take the activation out of a layer with a kernel."""
    function = graph.unwrapped(layer).activation
    if function is named.linear:
        return layer
    linear = _copy(layer, activation="linear")
    graph.carry_weights(layer, linear)
    suffix = getattr(function, "__name__", getattr(function, "name", None))
    activate = activation(function, f"{layer.name}_{suffix}")
    return lambda inputs: activate(linear(inputs))


def separate(layer) -> Callable:
    """Split a separable convolution into its two."""
    config = layer.get_config()
    spatial = ("kernel_size", "strides", "padding", "dilation_rate")
    first, second = (
        (layers.DepthwiseConv1D, layers.Conv1D)
        if len(layer.kernel_size) == 1
        else (layers.DepthwiseConv2D, layers.Conv2D)
    )
    common = {key: config[key] for key in ("data_format", "trainable")}
    depthwise = first(
        **{key: config[key] for key in spatial},
        **common,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        name=f"{layer.name}_depthwise",
    )
    pointwise = second(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        activation=layer.activation,
        **common,
        name=layer.name,
    )
    bias = [layer.bias] if layer.use_bias else []
    _build(depthwise, layer.depthwise_kernel)
    mix = apart(_build(pointwise, layer.pointwise_kernel, *bias))
    return lambda inputs: mix(depthwise(inputs))


def enlarge(layer) -> Callable:
    """Repeat pixels by a resize, which is one operation in a .tflite file."""
    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return layer

    def apply(inputs):
        if None in inputs.shape[1:3]:
            raise rules.refusal(layer, "give the input a fixed size")
        size = tuple(
            n * k for n, k in zip(inputs.shape[1:3], layer.size, strict=True)
        )
        return ops.image.resize(inputs, size, interpolation="nearest")

    return apply


def folded(layer, norm) -> Callable:
    """Fold a BatchNormalization into the layer before it."""
    old = graph.unwrapped(layer)
    scale, offset = _scale_and_offset(norm)
    bias = graph.values_of(old.bias) * scale if old.use_bias else 0.0
    new = _copy(layer, use_bias=True)
    for source, target in zip(
        graph.transforms(layer), graph.transforms(new), strict=True
    ):
        target.set_weights(source.get_weights())  # the mask of what is pruned
    axes = (-1,)  # of a kernel (..., in, out)
    if isinstance(old, layers.Conv2DTranspose):
        axes = (-1, 1)  # (..., out, in)
    elif isinstance(old, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        axes = old.kernel.shape[-2:]  # (..., channels, multiplier)
    inside = graph.unwrapped(new)
    inside.kernel.assign(graph.values_of(old.kernel) * scale.reshape(axes))
    inside.bias.assign(bias + offset)
    return new


def normalization(layer) -> Callable:
    """Make a BatchNormalization affine, with its statistics as they are."""
    scale, offset = _scale_and_offset(layer)
    return _affine(layer, scale, offset, trainable=layer.trainable)


def is_pruned(norm) -> bool:
    """Say whether a BatchNormalization removes channels."""
    return norm.scale and not graph.values_of(norm.gamma).all()


def rescaling(layer) -> Callable:
    """Make a Rescaling affine."""

    def apply(inputs):
        ones = np.ones(inputs.shape[-1])
        return _affine(layer, ones * layer.scale, ones * layer.offset)(inputs)

    return apply


def standardization(layer) -> Callable:
    """Make a Normalization affine."""
    if layer.invert or np.size(layer.mean) != np.shape(layer.mean)[-1]:
        raise rules.refusal(layer, "use axis=-1 and invert=False")
    mean, variance = (
        graph.values_of(v).ravel() for v in (layer.mean, layer.variance)
    )
    scale = 1.0 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return _affine(layer, scale, -mean * scale)


def _scale_and_offset(norm):
    """Return what a BatchNormalization computes of each channel."""
    mean, variance = map(
        graph.values_of, (norm.moving_mean, norm.moving_variance)
    )
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * graph.values_of(norm.gamma)
    offset = graph.values_of(norm.beta) if norm.center else 0.0
    return scale, offset - mean * scale


def _affine(layer, scale, offset, trainable=False):
    """Return `scale * x + offset` of each channel, as a 1x1 convolution."""
    convolution = layers.DepthwiseConv2D(
        1, name=layer.name, trainable=trainable
    )
    _build(convolution, np.reshape(scale, (1, 1, -1, 1)), offset)

    def apply(inputs):
        *sizes, channels = inputs.shape[1:]
        if len(sizes) == 2:
            return convolution(inputs)
        if None in sizes:
            raise rules.refusal(layer, "give the input a fixed size")
        image = (-1, 1, math.prod(sizes), channels)
        outputs = convolution(ops.reshape(inputs, image))
        return ops.reshape(outputs, (-1, *sizes, channels))

    return apply


def _build(layer, kernel, *weights):
    """Build a convolution with these weights."""
    layer.build((None,) * (len(kernel.shape) - 1) + (kernel.shape[-2],))
    values = [graph.values_of(w) for w in (kernel, *weights)]
    layer.set_weights(values)
    return layer


def _copy(layer, **changes):
    """Return a built layer with these changes, its weights not set."""
    new = graph.copy(layer, **changes)
    new.build_from_config(layer.get_build_config())
    return new
