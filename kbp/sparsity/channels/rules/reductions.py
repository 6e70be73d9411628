"""Sums, means and extremes over axes, that of the channels included."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp import graph
from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, Trace, kept, shape_of

# `mend(outputs, share) -> outputs` puts back the zeros that are gone; `share`
# of the channels stays.
Mend = Callable[[Any, float], Any]


def _reduced(
    trace: Trace, node: Node, inputs: list[Channels], mend: Mend | None
) -> Channels | list[Channels]:
    """Return what is left of channels over which values are reduced."""
    (x,), operation = inputs, node.operation
    rank, shape = len(node.inputs[0].shape), shape_of(node.outputs[0])
    axes = [axis % rank - 1 for axis in operation.axis or (0,)]
    if -1 in axes or getattr(operation, "initial", None) is not None:
        return trace.keep_through(node, inputs)
    first = tuple(
        slice(0, 1) if a in axes else slice(None) for a in range(rank)
    )
    zero = np.all(x.zero, axis=tuple(axes), keepdims=True).reshape(shape)
    trace.make_rectangular(x)
    varying = trace.varying(x)
    if not varying or not {*varying} <= {*axes}:
        for axis in {*varying} & {*axes}:
            trace.merge_along(x, axis)
        return Channels(x.groups[first[: rank - 1]].reshape(shape), zero)
    others = tuple(a for a in range(rank - 1) if a != varying[0])
    groups = np.moveaxis(x.groups, varying[0], 0)
    groups = groups.reshape(len(groups), -1)[:, 0]
    trace.read(groups, np.all(x.zero, axis=others, keepdims=True).ravel())

    def call(layer: keras.Operation, stays: np.ndarray, *args: Any) -> Any:
        outputs, share = layer(*args), float(stays[groups].mean())
        if share == 1 or mend is None:
            return outputs
        mended = mend(outputs, share)
        graph.name_operations(layer.name, outputs, mended)
        return mended

    trace.call_by(call)
    return Channels(kept(shape).groups, zero)


@register_channel_rule("sum")
def total(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Sum, to which zeros add nothing."""
    return _reduced(trace, node, inputs, None)


@register_channel_rule("mean")
def mean(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Mean, which counts zeros."""
    return _reduced(trace, node, inputs, lambda x, share: x * share)


@register_channel_rule("maximum")
def maximum(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Maximum, which is no less than a zero that is gone."""
    return _reduced(trace, node, inputs, lambda x, share: ops.maximum(x, 0.0))


@register_channel_rule("minimum")
def minimum(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Minimum, which is no more than a zero that is gone."""
    return _reduced(trace, node, inputs, lambda x, share: ops.minimum(x, 0.0))
