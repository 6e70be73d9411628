"""What only moves values: other shapes, orders of axes, joins end to end."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    has_arrays,
    shape_of,
    spread,
)


@register_channel_rule("reshape")
def reshape(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Flatten, Reshape, ...: a row-major order of the same values.

    Axes may become part of the batch, or come out of it.
    """
    (x,), layer = inputs, node.operation
    shape = shape_of(node.outputs[0])
    size, given = x.groups.size, int(np.prod(shape))
    groups, zero = x.groups, x.zero
    if size > given and size % given == 0:
        groups, zero = (a.reshape(-1, given) for a in (groups, zero))
        trace.merge(groups, groups[:1])
        groups, zero = groups[0], np.all(zero, axis=0, keepdims=True)[0]
    elif size < given and given % size == 0:
        groups, zero = (
            np.tile(a.ravel(), given // size) for a in (groups, zero)
        )
    elif size != given:
        return trace.keep_through(node, inputs)
    groups, zero = groups.reshape(shape), zero.reshape(shape)
    if isinstance(layer, layers.Reshape):
        sizes = {"target_shape": groups}
        mapping = IndexMap({}, sizes)
        mapping.arguments["target_shape"] = partial(
            _cut_shape, layer.target_shape, groups
        )
        trace.map(layer, mapping)
    elif hasattr(layer, "newshape"):
        trace.call_by(partial(_reshaped, groups))
    elif type(layer).__name__ == "Squeeze" and layer.axis is None:
        sizes_before = node.inputs[0].shape
        single = [axis for axis, n in enumerate(sizes_before) if n == 1]
        trace.call_by(partial(_squeezed, tuple(single)))
    return Channels(groups, zero)


def _squeezed(
    axes: tuple[int, ...], layer: keras.Operation, stays: np.ndarray, *args: Any
) -> Any:
    """Leave an axis of which one channel stays."""
    return type(layer)(axes, name=layer.name)(*args)


def _reshaped(
    groups: np.ndarray, layer: keras.Operation, stays: np.ndarray, *args: Any
) -> Any:
    first, *rest = layer.newshape
    shape = _cut_shape(rest, groups, stays)
    return type(layer)((first, *shape), name=layer.name)(*args)


def _cut_shape(
    sizes: Sequence[int], groups: np.ndarray, stays: np.ndarray
) -> tuple[int, ...]:
    """Return a target shape, with less where groups go."""
    inside = stays[groups]
    shape = list(sizes)
    for axis, size in enumerate(inside.shape):
        others = tuple(a for a in range(inside.ndim) if a != axis)
        count = int(inside.any(axis=others).sum())
        if count < size:
            shape[axis] = count
    return tuple(shape)


@register_channel_rule("transpose")
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


@register_channel_rule("concatenate", of_many=True)
def concatenate(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels] | None:
    """Concatenation along any axis."""
    if has_arrays(node):
        return trace.keep_through(node, inputs)
    rank = len(inputs[0].shape)
    axis = node.operation.axis % (rank + 1) - 1
    if axis < 0:
        return None
    if node.outputs[0].shape[axis + 1] is None:
        return _of_unknown_length(trace, inputs, axis)
    parts = [x.groups for x in inputs], [x.zero for x in inputs]
    if axis == rank - 1:
        vectors = [trace.vector(x) for x in inputs]
        if None not in vectors:
            groups, zero = map(np.concatenate, zip(*vectors, strict=True))
            return spread(groups, zero, shape_of(node.outputs[0]))
    else:
        first, *others = parts[0]
        for other in others:  # along the other axes they are one
            trace.merge(*(x.take([0], axis) for x in (first, other)))
    return Channels(*(np.concatenate(part, axis) for part in parts))


def _of_unknown_length(
    trace: Trace, inputs: list[Channels], axis: int
) -> Channels:
    """Join along an axis of unknown size, which counts as one."""
    for x in inputs:
        trace.merge_along(x, axis)
    groups = [x.groups.take([0], axis) for x in inputs]
    for other in groups[1:]:
        trace.merge(groups[0], other)
    zeros = [x.zero.all(axis=axis, keepdims=True) for x in inputs]
    return Channels(groups[0], np.logical_and.reduce(zeros))


@register_channel_rule("stack", of_many=True)
def stack(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Tensors of one shape along a new axis."""
    axis = node.operation.axis % (len(inputs[0].shape) + 2) - 1
    if axis < 0 or has_arrays(node):
        return trace.keep_through(node, inputs)
    for other in inputs[1:]:
        trace.merge(inputs[0].groups, other.groups)
    return Channels(
        np.stack([x.groups for x in inputs], axis),
        np.stack([x.zero for x in inputs], axis),
    )


@register_channel_rule("flip")
def flip(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Flip: the reverse order along axes."""
    (x,), axes = inputs, node.operation.axis
    axes = [axes] if isinstance(axes, int) else axes or [0]
    axes = [axis % len(node.inputs[0].shape) - 1 for axis in axes]
    if -1 in axes:
        return trace.keep_through(node, inputs)
    return Channels(*(np.flip(a, tuple(axes)) for a in (x.groups, x.zero)))
