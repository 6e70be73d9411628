"""Tables that give or change each channel."""

from typing import Any

import numpy as np

from kbp.graph import Node, values_of
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    shape_of,
    spread,
)


@register_channel_rule("embedding")
def embedding(trace: Trace, node: Node, inputs: list[Channels]) -> Channels:
    """Embedding: indices give new channels."""
    layer = node.operation
    given = trace.groups.new(layer.output_dim)
    weights = {id(layer.embeddings): {1: given}}
    mapping = trace.map(layer, IndexMap(weights, {"output_dim": given}))
    zero = ~np.any(values_of(layer.embeddings), axis=0)
    return spread(mapping.sizes["output_dim"], zero, shape_of(node.outputs[0]))


@register_channel_rule("position")
def position(trace: Trace, node: Node, inputs: list[Channels]) -> Channels:
    """PositionEmbedding: adds a table of channels."""
    (x,), layer = inputs, node.operation
    groups, zero = trace.along_last(x)
    trace.map(layer, IndexMap({id(layer.kernel): {-1: groups}}))
    return spread(groups, zero & ~values_of(layer.kernel).any(axis=0), x.shape)


@register_channel_rule("batch_norm")
def batch_norm(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """BatchNormalization: a factor and an offset for each channel."""
    (x,), layer = inputs, node.operation
    if layer.axis not in (-1, len(x.shape)):
        return trace.keep_through(node, inputs)
    groups, zero = trace.along_last(x)
    mean = values_of(layer.moving_mean)
    scale: Any = 1.0  # no array, which would make the products float64
    variables = [layer.moving_mean, layer.moving_variance]
    if layer.scale:
        variables.append(layer.gamma)
        scale = values_of(layer.gamma)
    offset = -mean * scale
    if layer.center:
        variables.append(layer.beta)
        deviation = np.sqrt(values_of(layer.moving_variance) + layer.epsilon)
        offset = offset + values_of(layer.beta) * deviation
    trace.map(layer, IndexMap({id(v): {0: groups} for v in variables}))
    zero = (zero | (scale == 0)) & (offset == 0)
    return spread(groups, zero, shape_of(node.outputs[0]))


@register_channel_rule("channel_scale")
def channel_scale(trace: Trace, node: Node, inputs: list[Channels]) -> Channels:
    """ChannelScale: a factor for each channel, or for several of a group."""
    (x,), layer = inputs, node.operation
    groups, zero = trace.along_last(x)
    numbers = _numbers(node, len(groups))
    size = int(numbers.max()) + 1
    units = np.array([groups[numbers == unit][0] for unit in range(size)])
    scaled = numbers >= 0
    trace.merge(groups[scaled], units[numbers[scaled]])
    mapping = IndexMap({id(layer.kernel): {0: units}})
    if layer.arrangements:

        def arrangements(stays: np.ndarray) -> list[list[int]]:
            return _smaller(trace, node, units, stays)

        mapping.arguments["arrangements"] = arrangements
    trace.map(layer, mapping)
    factors = values_of(layer.kernel)
    factors = layer.spread(factors, node.keywords.get("arrangement", 0))
    return spread(groups, zero | (factors == 0), x.shape)


def _numbers(node: Node, channels: int) -> np.ndarray:
    """Return the number of each channel's factor."""
    arrangements = node.operation.arrangements
    if not arrangements:
        return np.arange(channels)
    return np.array(arrangements[node.keywords.get("arrangement", 0)])


def _smaller(
    trace: Trace, node: Node, units: np.ndarray, stays: np.ndarray
) -> list[list[int]]:
    """Return a layer's arrangements of what stays."""
    layer = node.operation
    found: list[list[int]] = [[] for _ in layer.arrangements]
    new = np.append(np.cumsum(stays[units]) - 1, -1)
    for other in trace.nodes:
        if other.operation is layer:
            groups, _ = trace.along_last(trace.of(other.inputs[0]))
            number = other.keywords.get("arrangement", 0)
            numbers = np.array(layer.arrangements[number])
            found[number] = new[numbers[stays[groups]]].tolist()
    return found
