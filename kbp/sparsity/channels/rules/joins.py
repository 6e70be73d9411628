"""What joins several tensors, value by value."""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.rules.functions import is_elementwise, keeps_zero
from kbp.sparsity.channels.tracing import (
    Channels,
    Trace,
    combine,
    compact,
    constants_of,
    has_arrays,
    kept,
    shape_of,
    size_of,
)


@register_channel_rule("joined", of_many=True)
def joined(
    trace: Trace,
    node: Node,
    inputs: list[Channels],
    zero_of: Callable[..., np.ndarray] = np.logical_and,
) -> Channels | None:
    """Add, maximum, multiply, ...: whole tensors, value by value."""
    shape = shape_of(node.outputs[0])
    inputs = [trace.of(x) for x in node.inputs]  # those of bools, too
    if has_arrays(node):
        return None
    if any(len(x.shape) != len(shape) or not shape for x in inputs):
        return None
    groups = _together(trace, inputs, shape)
    zeros = [x.zero for x in inputs]
    zeros += [np.asarray(x == 0) for x in constants_of(node)]
    zero = combine(
        lambda *parts: functools.reduce(zero_of, parts), zeros, shape
    )
    return Channels(groups, zero)


def _together(
    trace: Trace, inputs: list[Channels], shape: tuple[int, ...]
) -> np.ndarray:
    """Let what is joined go together; return the groups of the result.

    One value that is joined with all channels stays instead.
    """
    varying = {axis for x in inputs for axis in trace.varying(x)}
    found = []
    for x in inputs:
        single = {
            axis for axis, size in enumerate(shape) if x.shape[axis] == 1 < size
        }
        if single and varying <= single:
            trace.keep(x, f"{trace.name} takes it for all channels")
        else:
            found.append(np.broadcast_to(x.groups, shape))
    for other in found[1:]:
        trace.merge(*compact(found[0], other))
    return found[0] if found else kept(shape).groups


def _largest_that_vanishes(node: Node) -> list[keras.KerasTensor]:
    """Return the factor that makes a product zero: no gate of sigmoids."""
    never = {
        id(x)
        for before in node.producers
        if _loses_zero(before)
        for x in before.outputs
    }
    free = [x for x in node.inputs if id(x) not in never]
    return [max(free or node.inputs, key=size_of)]


@register_channel_rule("product", demand=_largest_that_vanishes, of_many=True)
def product(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | None:
    """Multiply: zero where one factor is."""
    return joined(trace, node, inputs, zero_of=np.logical_or)


def _loses_zero(node: Node) -> bool:
    """Say whether the function at the end of a use gives no zero for zero."""
    operation = node.operation
    function = getattr(operation, "activation", None)
    if function is None and isinstance(operation, layers.Softmax):
        return True
    if function is None:
        name = type(operation).__name__.lower()
        function = getattr(keras.activations, name, None)
    return function is not None and not (
        is_elementwise(function) and keeps_zero(function)
    )
