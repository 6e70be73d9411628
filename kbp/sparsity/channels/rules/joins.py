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
            trace.keep(x, f"{trace.name} takes it for all channels")
    groups = [np.broadcast_to(x.groups, shape) for x in whole]
    for other in groups[1:]:
        trace.merge(*compact(groups[0], other))
    zeros = [x.zero for x in inputs] + [np.asarray(x == 0) for x in constants]
    zero = combine(
        lambda *parts: functools.reduce(zero_of, parts), zeros, shape
    )
    return Channels(groups[0], zero)


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
