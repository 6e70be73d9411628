"""Functions of single values."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp.graph import Node
from kbp.graph.operation_traits import ELEMENTWISE
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, IndexMap, Trace, spread

_ACTIVATIONS = {getattr(keras.activations, name) for name in ELEMENTWISE}


def is_elementwise(activation: Callable[..., Any]) -> bool:
    """Say whether an activation treats each value alone."""
    return activation in _ACTIVATIONS


def keeps_zero(function: Callable[..., Any], rank: int = 2) -> bool:
    """Say whether an elementwise function of zero is zero."""
    value = ops.convert_to_numpy(function(ops.zeros((1,) * rank)))
    return not bool(np.any(value))


@register_channel_rule("elementwise")
def elementwise(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Functions of one value."""
    (x,), operation = inputs, node.operation
    bounds = ("scale", "offset", "x_min", "x_max")  # of Rescaling and clip
    if any(np.ndim(getattr(operation, name, 0)) for name in bounds):
        return None
    if isinstance(operation, layers.Activation):
        operation = operation.activation
    if keeps_zero(operation, len(node.inputs[0].shape)):
        return x
    return Channels(x.groups, np.broadcast_to(False, x.shape))


@register_channel_rule("activation")
def activation(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels] | None:
    """Layers Activation and Softmax."""
    function = node.operation
    if isinstance(function, layers.Activation):
        function = function.activation
        if is_elementwise(function):
            return elementwise(trace, node, inputs)
    if function is not keras.activations.softmax and not isinstance(
        function, layers.Softmax
    ):
        return None
    return softmax(trace, node, inputs)


@register_channel_rule("softmax")
def softmax(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels] | None:
    """Softmax over one axis; groups along others stay as they are."""
    (x,) = inputs
    axis = getattr(node.operation, "axis", -1)
    if not isinstance(axis, int) or axis % (len(x.shape) + 1) == 0:
        return trace.keep_through(node, inputs)
    if axis % (len(x.shape) + 1) - 1 in trace.varying(x):
        return trace.keep_through(node, inputs)
    return Channels(x.groups, np.broadcast_to(False, x.shape))


@register_channel_rule("slopes")
def slopes(trace: Trace, node: Node, inputs: list[Channels]) -> Channels:
    """PReLU: a slope for each channel, and perhaps each position."""
    (x,), layer = inputs, node.operation
    groups, zero = trace.along_last(x)
    if layer.alpha.shape[-1] == len(groups):
        trace.map(layer, IndexMap({id(layer.alpha): {-1: groups}}))
    return spread(groups, zero, x.shape)
