"""What takes some of the channels out of a tensor."""

from numbers import Integral
from typing import Any

import keras
import numpy as np

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, Trace, compact

_ALL = slice(None)


class _Kept:
    """Where the values along an axis are, in the smaller model.

    Attributes:
        stays: whether each value stays.
        places: of each that stays, in the smaller tensor.
    """

    def __init__(
        self, groups: np.ndarray, axis: int, stays: np.ndarray
    ) -> None:
        size = groups.shape[axis]
        (groups,) = compact(groups)
        others = tuple(a for a in range(groups.ndim) if a != axis)
        self.stays = np.broadcast_to(stays[groups].any(axis=others), size)
        self.places = np.cumsum(self.stays) - 1

    def of(self, old: np.ndarray) -> np.ndarray:
        """Return where those of some values are that stay."""
        return self.places[old[self.stays[old]]]


@register_channel_rule("slice")
def slices(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Index with slices, numbers, ellipsis and new axes."""
    (x,), key = inputs, node.arguments[1]
    full = _without_ellipsis(key, len(x.shape) + 1)
    if full is None:
        return trace.keep_through(node, inputs)
    sizes = iter(node.inputs[0].shape[1:])
    known: list[Any] = []
    for part in full[1:]:  # what is not known has the size 1
        unknown = part is not None and next(sizes) is None
        known.append(
            part if not unknown else 0 if isinstance(part, Integral) else _ALL
        )
    for axis, part in enumerate(p for p in known if p is not None):
        if isinstance(part, slice) and abs(part.step or 1) > 1:
            _tie_blocks(trace, x, axis, abs(part.step))

    def call(
        layer: keras.Operation, stays: np.ndarray, value: Any, key: Any
    ) -> Any:
        parts: list[Any] = [_ALL]
        axis = 0
        for part in full[1:]:
            parts.append(part)
            if part is None:
                continue
            if not isinstance(part, slice) or part != _ALL:
                kept = _Kept(x.groups, axis, stays)
                if not kept.stays.all():
                    parts[-1] = _cut(part, kept)
            axis += 1
        return layer(value, tuple(parts))

    trace.call_by(call)
    index = tuple(known)
    return Channels(x.groups[index], x.zero[index])


def _without_ellipsis(key: Any, rank: int) -> list[Any] | None:
    """Return a key with a part for each axis; `None` if it is of others."""
    parts = list(key) if isinstance(key, list | tuple) else [key]
    for part in parts:
        bounds = (
            [part.start, part.stop, part.step]
            if isinstance(part, slice)
            else [None if part is Ellipsis else part]
        )
        if not all(b is None or isinstance(b, Integral) for b in bounds):
            return None
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    where = parts.index(Ellipsis)
    missing = rank - sum(p is not None and p is not Ellipsis for p in parts)
    parts[where : where + 1] = [_ALL] * missing
    return parts if parts[0] == _ALL and parts[0] is not None else None


def _tie_blocks(trace: Trace, x: Channels, axis: int, step: int) -> None:
    """Let neighbours go together, so that every second stays every second."""
    groups = np.moveaxis(x.groups, axis, -1)
    starts = np.arange(groups.shape[-1]) // step * step
    (groups,) = compact(groups)
    if groups.shape[-1] == len(starts):
        trace.merge(groups, groups[..., starts])


def _cut(part: Any, kept: _Kept) -> Any:
    """Return a part of a key that finds the same values."""
    size = len(kept.stays)
    if isinstance(part, Integral):
        return int(kept.places[int(part) % size])
    places = kept.of(np.arange(size)[part])
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    stop = int(places[-1]) + (1 if step > 0 else -1)
    return slice(int(places[0]), None if stop < 0 else stop, step)


@register_channel_rule("split")
def split(trace: Trace, node: Node, inputs: list[Channels]) -> list[Channels]:
    """Parts along an axis."""
    (x,), operation = inputs, node.operation
    axis = operation.axis % (len(x.shape) + 1) - 1
    if axis < 0 or node.inputs[0].shape[axis + 1] is None:
        return trace.keep_through(node, inputs)
    sizes = [y.shape[axis + 1] for y in node.outputs]
    ends = np.cumsum(sizes)[:-1]

    def call(layer: keras.Operation, stays: np.ndarray, value: Any) -> Any:
        kept = _Kept(x.groups, axis, stays)
        if kept.stays.all():
            return layer(value)
        counts = [int(part.sum()) for part in np.split(kept.stays, ends)]
        new = np.cumsum(counts)[:-1].tolist()
        return type(layer)(new, layer.axis, name=layer.name)(value)

    trace.call_by(call)
    parts = (np.split(a, ends, axis) for a in (x.groups, x.zero))
    return [Channels(*pair) for pair in zip(*parts, strict=True)]


@register_channel_rule("take")
def take(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Values at places that are known, along an axis."""
    (x,), axis = inputs, node.operation.axis
    indices = np.asarray(node.arguments[1])
    axis = -1 if axis is None else axis % (len(x.shape) + 1) - 1
    if axis < 0 or node.inputs[0].shape[axis + 1] is None or indices.ndim != 1:
        return trace.keep_through(node, inputs)
    indices = indices % x.shape[axis]

    def call(
        layer: keras.Operation, stays: np.ndarray, value: Any, old: Any
    ) -> Any:
        return layer(value, _Kept(x.groups, axis, stays).of(indices))

    trace.call_by(call)
    return Channels(x.groups.take(indices, axis), x.zero.take(indices, axis))
