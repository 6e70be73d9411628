"""What gates' factors are before a training."""

import keras
import numpy as np

from kbp import graph
from kbp.layers import ChannelScale, TransformedLayer

# For each gate, of the layers whose channels it scales, the arrangement there.
LayersBefore = dict[str, dict[str, int]]


def layers_before(model: keras.Model) -> LayersBefore:
    """Return which layers give the channels that each gate scales.

    Args:
        model: with gates, flat.
    """
    found: LayersBefore = {}
    for node in graph.nodes(model):
        if not isinstance(node.operation, ChannelScale):
            continue
        before = node.producers[0]
        while isinstance(before.operation, ChannelScale):
            before = before.producers[0]
        number = node.keywords.get("arrangement", 0)
        rows = found.setdefault(node.operation.name, {})
        rows[before.operation.name] = number
    return found


def begin_with(
    model: keras.Model,
    gate: TransformedLayer,
    before: dict[str, int],
    sizes: np.ndarray,
) -> None:
    """Let a gate's factors be of given sizes, and the outputs what they are.

    What the factors get less or more is in the layers before then. Where one of
    these has a mask nothing changes: it looks at how large the weights are.

    Args:
        model: with the gate.
        gate: a masked `ChannelScale`.
        before: of `layers_before`.
        sizes: one for each factor, in any unit, none negative.
    """
    if any(graph.transforms(model.get_layer(name)) for name in before):
        return
    old = graph.values_of(gate.kernel)
    # Of mean 1, none so small that what is left in the layers gets large.
    new = ((sizes / sizes.mean() + 0.1) / 1.1).astype(old.dtype)
    gate.kernel.assign(new)
    for name, number in before.items():
        layer = graph.unwrapped(model.get_layer(name))
        factors = graph.unwrapped(gate).spread(old / new, number)
        graph.scale_outputs(layer, factors)
