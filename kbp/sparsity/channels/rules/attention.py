"""What is computed between heads of attention."""

import numpy as np

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, Trace, has_arrays, shape_of


@register_channel_rule(
    "matmul",
    demand=lambda node: node.inputs[1:],  # the values that are attended to
    of_many=True,
)
def matmul(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels] | None:
    """`(..., m, k)` times `(..., k, n)`: a sum over `k`."""
    if has_arrays(node):
        return trace.keep_through(node, inputs)
    a, b = inputs
    rank = len(a.shape)
    if rank != len(b.shape) or rank < 2:
        return None
    vary = [
        {axis - rank for axis in trace.varying(x)} & {-2, -1} for x in inputs
    ]
    if any(vary) and rank == 2:  # no heads
        return trace.keep_through(node, inputs)
    for x, axes in zip(inputs, vary, strict=True):
        for axis in axes:
            trace.merge_along(x, rank + axis)
    heads = [x.groups[..., :1, :1] for x in (a, b)]
    trace.merge(*heads)
    # A sum is zero where one side of each of its products is.
    zero = np.logical_or(
        a.zero.all(axis=-1, keepdims=True), b.zero.all(axis=-2, keepdims=True)
    )
    shape = shape_of(node.outputs[0])
    return Channels(
        np.broadcast_to(heads[0], shape), np.broadcast_to(zero, shape)
    )
