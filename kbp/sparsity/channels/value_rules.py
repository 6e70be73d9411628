"""How layers and operations without weights treat channels."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp.graph import Node
from kbp.graph.operation_traits import ELEMENTWISE
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    combine,
    compact,
    shape_of,
    spread,
)

ELEMENTWISE_ACTIVATIONS = {
    getattr(keras.activations, name) for name in ELEMENTWISE
}


def is_elementwise(activation: Callable[..., Any]) -> bool:
    """Say whether an activation treats each value alone."""
    return activation in ELEMENTWISE_ACTIVATIONS


def keeps_zero(function: Callable[..., Any], rank: int = 2) -> bool:
    """Say whether an elementwise function of zero is zero."""
    value = ops.convert_to_numpy(function(ops.zeros((1,) * rank)))
    return not bool(np.any(value))


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


def activation(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
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


def softmax(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Softmax over the last axis; groups along others stay as they are."""
    (x,) = inputs
    if getattr(node.operation, "axis", -1) not in (-1, len(x.shape)):
        return None
    (groups,) = compact(x.groups)
    roots = trace.groups.roots(groups)
    if (roots != roots[..., :1]).any():
        return trace.keep_through(node, x)
    return Channels(x.groups, np.broadcast_to(False, x.shape))


def joined(
    trace: Trace,
    node: Node,
    inputs: list[Channels],
    zero_of: Callable[..., np.ndarray] = np.logical_and,
) -> Channels | None:
    """Add, maximum, multiply, ...: whole tensors, value by value."""
    shape = shape_of(node.outputs[0])
    constants = [
        x
        for x in keras.tree.flatten(node.arguments)
        if not isinstance(x, keras.KerasTensor)
    ]
    if any(np.ndim(x) for x in constants):
        return None
    if any(len(x.shape) != len(shape) or not shape for x in inputs):
        return None
    whole = []
    for x in inputs:
        if x.shape[-1] == shape[-1]:
            whole.append(x)
        else:  # one value for all channels
            trace.keep(x)
    groups = [np.broadcast_to(x.groups, shape) for x in whole]
    for other in groups[1:]:
        trace.groups.merge(*compact(groups[0], other))
    zeros = [x.zero for x in inputs] + [np.asarray(x == 0) for x in constants]
    zero = combine(
        lambda *parts: functools.reduce(zero_of, parts), zeros, shape
    )
    return Channels(groups[0], zero)


product = functools.partial(joined, zero_of=np.logical_or)  # Multiply


def spatial(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """From map to map, channel by channel."""
    (x,), shape = inputs, shape_of(node.outputs[0])
    vector = trace.vector(x)
    if vector is None or shape[-1] != x.shape[-1]:
        return trace.keep_through(node, x)
    return spread(*vector, shape)


def mean(trace: Trace, node: Node, inputs: list[Channels]) -> Channels | None:
    """Mean over other axes than the channels'."""
    axes, rank = node.operation.axis, len(node.inputs[0].shape)
    axes = [a % rank for a in ([axes] if isinstance(axes, int) else axes or ())]
    if not axes or not {*axes} <= {*range(1, rank - 1)}:
        return None
    return spatial(trace, node, inputs)


def reshape(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Flatten and Reshape: a row-major order of the same values.

    An axis that is split into heads and features stays rectangular: a head
    goes whole or not at all.
    """
    (x,), shape = inputs, shape_of(node.outputs[0])
    if x.groups.size != np.prod(shape, dtype=int):
        return trace.keep_through(node, x)
    groups = trace.groups.roots(x.groups).reshape(shape)
    varying = [
        axis
        for axis in range(len(shape))
        if (groups != groups.take([0], axis)).any()
    ]
    for axis in varying[1:]:
        trace.groups.merge(groups, groups.take([0], axis))
        groups = np.broadcast_to(groups.take([0], axis), shape)
    if isinstance(node.operation, layers.Reshape):
        trace.map(node.operation, IndexMap({}, {"target_shape": groups}))
    return Channels(groups, x.zero.reshape(shape))


def transpose(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Permute and transpose."""
    (x,), operation = inputs, node.operation
    axes = getattr(operation, "dims", None) or (operation.axes or (1,))[1:]
    axes = [axis % (len(x.shape) + 1) - 1 for axis in axes]
    if sorted(axes) != list(range(len(x.shape))):
        return None
    return Channels(x.groups.transpose(axes), x.zero.transpose(axes))


def concatenate(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Concatenation along any axis."""
    rank = len(inputs[0].shape)
    axis = node.operation.axis % (rank + 1) - 1
    if axis < 0:
        return None
    parts = [x.groups for x in inputs], [x.zero for x in inputs]
    if axis == rank - 1:
        vectors = [trace.vector(x) for x in inputs]
        if None not in vectors:
            groups, zero = map(np.concatenate, zip(*vectors, strict=True))
            return spread(groups, zero, shape_of(node.outputs[0]))
        return Channels(*(np.concatenate(part, axis) for part in parts))
    first, *others = parts[0]
    for other in others:  # along the other axes they are one
        trace.groups.merge(*(x.take([0], axis) for x in (first, other)))
    return Channels(*(np.concatenate(part, axis) for part in parts))


def matmul(trace: Trace, node: Node, inputs: list[Channels]) -> Channels | None:
    """`(..., m, k)` times `(..., k, n)`: a sum over `k`."""
    a, b = inputs
    if len(a.shape) != len(b.shape) or len(a.shape) < 2:
        return None
    vary = [[_varies(trace, x, axis) for axis in (-2, -1)] for x in (a, b)]
    if any(map(any, vary)):  # more than heads differ
        trace.keep(a)
        return trace.keep_through(node, b)
    heads = [x.groups[..., :1, :1] for x in (a, b)]
    trace.groups.merge(*heads)
    # A sum is zero where one side of each of its products is.
    zero = np.logical_or(
        a.zero.all(axis=-1, keepdims=True), b.zero.all(axis=-2, keepdims=True)
    )
    shape = shape_of(node.outputs[0])
    return Channels(
        np.broadcast_to(heads[0], shape), np.broadcast_to(zero, shape)
    )


def _varies(trace: Trace, x: Channels, axis: int) -> bool:
    roots = trace.groups.roots(compact(x.groups)[0])
    return bool((roots != roots.take([0], axis)).any())
