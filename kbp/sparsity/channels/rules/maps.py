"""From map to map, channel by channel, and blocks of places as channels."""

import numpy as np

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, Trace, shape_of, spread


@register_channel_rule("spatial")
def spatial(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Pooling, padding, resizing, ...: channel by channel."""
    (x,), shape = inputs, shape_of(node.outputs[0])
    if shape[-1] != x.shape[-1]:
        return trace.keep_through(node, inputs)
    return spread(*trace.along_last(x), shape)


@register_channel_rule("depth_to_space")
def depth_to_space(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels:
    """Make a channel of one for each place of a block."""
    groups, zero = trace.along_last(inputs[0])
    shape = shape_of(node.outputs[0])
    groups, zero = (x.reshape(-1, shape[-1]) for x in (groups, zero))
    trace.merge(groups, groups[:1])
    return spread(groups[0], np.all(zero, axis=0, keepdims=True)[0], shape)


@register_channel_rule("space_to_depth")
def space_to_depth(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels:
    """Make one for each place of a block of a channel."""
    shape = shape_of(node.outputs[0])
    vectors = trace.along_last(inputs[0])
    repeats = shape[-1] // inputs[0].shape[-1]
    groups, zero = (np.tile(vector, repeats) for vector in vectors)
    return spread(groups, zero, shape)
