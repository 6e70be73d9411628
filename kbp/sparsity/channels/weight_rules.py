"""How layers with weights treat the channels of their inputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp.graph import Node, kernel_of, traits_of, values_of
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    shape_of,
    spread,
)
from kbp.sparsity.channels.value_rules import is_elementwise, keeps_zero


def is_cuttable(layer: keras.Operation) -> bool:
    """Say whether a kernel has one axis of inputs and one of outputs."""
    if getattr(layer, "groups", 1) > 1:
        return False
    if isinstance(layer, layers.EinsumDense):
        inputs, rest = layer.equation.split(",")
        kernel, outputs = rest.split("->")
        dense = f"{inputs[-1]}{outputs[-1]}", f"{inputs[:-1]}{outputs[-1]}"
        bias = layer.bias is None or layer.bias.shape == layer.kernel.shape[1:]
        return (kernel, outputs) == dense and bias
    return True


def activation_of(layer: keras.Operation) -> Callable[..., Any]:
    """Return a layer's own activation, linear if it has none."""
    return getattr(layer, "activation", keras.activations.linear)


def kernel_layer(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Dense and convolutions: they read channels and give new ones."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if not is_cuttable(layer) or vector is None:
        return trace.keep_through(node, x)
    groups, zero = vector
    traits = traits_of(layer)
    axes = traits.input_axis, traits.output_axis
    kernel = np.moveaxis(values_of(kernel_of(layer)), axes, (-2, -1))
    nonzero = np.any(kernel.reshape(-1, *kernel.shape[-2:]), axis=0)
    nothing = zero | ~nonzero.any(axis=1)  # (channels read,)
    trace.read(groups, nothing)
    given = trace.groups.new(kernel.shape[-1])
    alone = is_elementwise(activation_of(layer))
    if not alone:  # a softmax sees all that the layer gives
        trace.groups.merge(given, KEPT)
    weights = {str(traits.kernel): {axes[0]: groups, axes[1]: given}}
    zero = ~nonzero[~zero].any(axis=0)  # (channels given,)
    zero &= _bias(layer, weights, given)
    zero &= alone and keeps_zero(activation_of(layer))
    trace.map(layer, IndexMap(weights, {str(traits.size_argument): given}))
    return spread(given, zero, shape_of(node.outputs[0]))


def depthwise(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Depthwise convolutions: each channel gives its own."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if vector is None or not is_elementwise(activation_of(layer)):
        return trace.keep_through(node, x)
    groups, zero = vector
    kernel = values_of(kernel_of(layer))  # (..., channels, multiplier)
    weights = {str(traits_of(layer).kernel): {-2: groups}}
    given = np.repeat(groups, kernel.shape[-1])
    zero = _zero_behind(kernel, zero)
    zero &= _bias(layer, weights, given)
    zero &= keeps_zero(activation_of(layer))
    trace.map(layer, IndexMap(weights))
    return spread(given, zero, shape_of(node.outputs[0]))


def separable(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Depthwise, then a convolution of 1x1."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if vector is None or not is_elementwise(activation_of(layer)):
        return trace.keep_through(node, x)
    groups, zero = vector
    kernel = values_of(layer.depthwise_kernel)
    read = np.repeat(groups, kernel.shape[-1])
    zero = _zero_behind(kernel, zero)
    point = values_of(layer.pointwise_kernel)
    point = point.reshape(point.shape[-2:]) != 0
    trace.read(read, zero | ~point.any(axis=1))
    given = trace.groups.new(point.shape[-1])
    weights = {
        "depthwise_kernel": {-2: groups},
        "pointwise_kernel": {-2: read, -1: given},
    }
    zero = ~point[~zero].any(axis=0)
    zero &= _bias(layer, weights, given)
    zero &= keeps_zero(activation_of(layer))
    trace.map(layer, IndexMap(weights, {"filters": given}))
    return spread(given, zero, shape_of(node.outputs[0]))


def embedding(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Embedding: indices give new channels."""
    layer = node.operation
    given = trace.groups.new(layer.output_dim)
    mapping = IndexMap({"embeddings": {1: given}}, {"output_dim": given})
    trace.map(layer, mapping)
    zero = ~np.any(values_of(layer.embeddings), axis=0)
    given = trace.index_maps[layer].sizes["output_dim"]
    return spread(given, zero, shape_of(node.outputs[0]))


def batch_norm(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """BatchNormalization: a factor and an offset for each channel."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if vector is None or layer.axis not in (-1, len(x.shape)):
        return trace.keep_through(node, x)
    groups, zero = vector
    mean = values_of(layer.moving_mean)
    scale: Any = 1.0  # no array, which would make the products float64
    weights = {"moving_mean": {0: groups}, "moving_variance": {0: groups}}
    if layer.scale:
        weights["gamma"] = {0: groups}
        scale = values_of(layer.gamma)
    offset = -mean * scale
    if layer.center:
        weights["beta"] = {0: groups}
        deviation = np.sqrt(values_of(layer.moving_variance) + layer.epsilon)
        offset = offset + values_of(layer.beta) * deviation
    trace.map(layer, IndexMap(weights))
    zero = (zero | (scale == 0)) & (offset == 0)
    return spread(groups, zero, shape_of(node.outputs[0]))


def channel_scale(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """ChannelScale: a factor for each channel."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if vector is None:
        return trace.keep_through(node, x)
    groups, zero = vector
    repeated = groups.reshape(-1, layer.repeats)
    trace.groups.merge(repeated, repeated[:, :1])
    trace.map(layer, IndexMap({"kernel": {0: repeated[:, 0]}}))
    zero = zero | (np.repeat(values_of(layer.kernel), layer.repeats) == 0)
    return spread(groups, zero, x.shape)


def position(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """PositionEmbedding: adds a table of channels."""
    (x,), layer = inputs, node.operation
    vector = trace.vector(x)
    if vector is None:
        return trace.keep_through(node, x)
    groups, zero = vector
    trace.map(layer, IndexMap({"kernel": {-1: groups}}))
    return spread(groups, zero & ~values_of(layer.kernel).any(axis=0), x.shape)


def _zero_behind(kernel: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Say where a depthwise kernel gives zeros, `(channels * multiplier,)`."""
    nonzero = np.any(kernel.reshape(-1, *kernel.shape[-2:]), axis=0)
    return (zero[:, None] | ~nonzero).ravel()


def _bias(
    layer: keras.Operation,
    weights: dict[str, dict[int, np.ndarray]],
    groups: np.ndarray,
) -> np.ndarray:
    """Add the bias to the weights of a mapping, and say where it is zero."""
    if getattr(layer, "bias", None) is None:
        return np.asarray(True)
    weights["bias"] = {0: groups}
    return values_of(layer.bias) == 0
