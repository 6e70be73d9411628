"""Layers with kernels, which read all channels and give new ones."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp.graph import Node, kernel_of, traits_of, values_of
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.rules.functions import is_elementwise, keeps_zero
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    shape_of,
    spread,
)


def is_cuttable(layer: keras.Operation) -> bool:
    """Say whether a kernel has one axis of inputs and one of outputs."""
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


@register_channel_rule("kernel")
def kernel_layer(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Dense and convolutions."""
    (x,), layer = inputs, node.operation
    if not is_cuttable(layer):
        return trace.keep_through(node, inputs)
    groups, zero = trace.along_last(x)
    traits = traits_of(layer)
    axes = traits.input_axis, traits.output_axis
    nonzero = pairs(np.moveaxis(values_of(kernel_of(layer)), axes, (-2, -1)))
    nothing = zero | ~nonzero.any(axis=1)  # (channels read,)
    trace.read(groups, nothing)
    given = trace.groups.new(nonzero.shape[1])
    if not is_elementwise(activation_of(layer)):
        # A softmax sees all that the layer gives.
        trace.groups.merge(given, KEPT, f"{trace.name} needs them all")
    weights = {id(kernel_of(layer)): {axes[0]: groups, axes[1]: given}}
    zero = ~nonzero[~zero].any(axis=0)  # (channels given,)
    return _given(trace, node, weights, given, zero)


@register_channel_rule("separable")
def separable(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Depthwise, then a convolution of 1x1."""
    (x,), layer = inputs, node.operation
    if not is_elementwise(activation_of(layer)):
        return trace.keep_through(node, inputs)
    groups, zero = trace.along_last(x)
    kernel = values_of(layer.depthwise_kernel)
    read = np.repeat(groups, kernel.shape[-1])
    zero = zero_behind(kernel, zero)
    point = pairs(values_of(layer.pointwise_kernel))
    trace.read(read, zero | ~point.any(axis=1))
    given = trace.groups.new(point.shape[-1])
    weights = {
        id(layer.depthwise_kernel): {-2: groups},
        id(layer.pointwise_kernel): {-2: read, -1: given},
    }
    zero = ~point[~zero].any(axis=0)
    return _given(trace, node, weights, given, zero)


def _given(
    trace: Trace,
    node: Node,
    weights: dict[int, dict[int, np.ndarray]],
    given: np.ndarray,
    zero: np.ndarray,
) -> Channels:
    """Map a layer, and return its channels behind bias and activation."""
    layer, activation = node.operation, activation_of(node.operation)
    zero = zero & bias_is_zero(layer, weights, given)
    zero &= is_elementwise(activation) and keeps_zero(activation)
    trace.map(layer, sized(layer, weights, given))
    return spread(given, zero, shape_of(node.outputs[0]))


@register_channel_rule("depthwise")
def depthwise(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Depthwise convolutions: each channel gives its own."""
    (x,), layer = inputs, node.operation
    if not is_elementwise(activation_of(layer)):
        return trace.keep_through(node, inputs)
    groups, zero = trace.along_last(x)
    kernel = values_of(kernel_of(layer))  # (..., channels, multiplier)
    weights = {id(kernel_of(layer)): {-2: groups}}
    given = np.repeat(groups, kernel.shape[-1])
    zero = zero_behind(kernel, zero)
    zero &= bias_is_zero(layer, weights, given)
    zero &= keeps_zero(activation_of(layer))
    trace.map(layer, IndexMap(weights))
    return spread(given, zero, shape_of(node.outputs[0]))


def pairs(kernel: np.ndarray) -> np.ndarray:
    """Say where a kernel is not zero, of its last two axes."""
    return np.any(kernel.reshape(-1, *kernel.shape[-2:]), axis=0)


def zero_behind(kernel: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Say where a depthwise kernel gives zeros, `(channels * multiplier,)`."""
    return (zero[:, None] | ~pairs(kernel)).ravel()


def bias_is_zero(
    layer: keras.Operation,
    weights: dict[int, dict[int, np.ndarray]],
    groups: np.ndarray,
) -> np.ndarray:
    """Add the bias to the weights of a mapping, and say where it is zero."""
    bias = getattr(layer, "bias", None)
    if bias is None:
        return np.asarray(True)
    weights[id(bias)] = {0: groups}
    return values_of(bias) == 0


def sized(
    layer: keras.Operation,
    weights: dict[int, dict[int, np.ndarray]],
    given: np.ndarray,
) -> IndexMap:
    """Return the mapping of a layer that gives these groups."""
    name = str(traits_of(layer).size_argument)
    mapping = IndexMap(weights, {name: given})
    if isinstance(layer, layers.EinsumDense):
        mapping.arguments[name] = partial(
            _einsum_shape, layer.partial_output_shape, given
        )
    return mapping


def _einsum_shape(
    shape: tuple[int | None, ...], given: np.ndarray, stays: np.ndarray
) -> tuple[int | None, ...]:
    return (*shape[:-1], int(stays[given].sum()))
