"""How each kind of layer treats the channels of its inputs.

A rule takes the trace, the use of a layer and the inputs' channels, and returns
the output's, or `None` if it does not cover the use. Operations that only move
values, as reshaping does, move the groups in the same way; those that add or
multiply values of two tensors merge their groups; those that sum over channels
read them and begin new ones. Which rule a class of layers follows says its
`kbp.graph.LayerTraits`.
"""

import keras

from kbp import graph
from kbp.sparsity.channels import value_rules as values
from kbp.sparsity.channels import weight_rules as weights
from kbp.sparsity.channels.tracing import (
    Channels,
    Rule,
    Trace,
    compact,
    kept,
    shape_of,
)


def keep(trace: Trace, node: graph.Node, inputs: list[Channels]) -> Channels:
    """Layers that see all channels at once."""
    for x in inputs:
        trace.keep(x)
    return kept(shape_of(node.outputs[0]))


RULES: dict[str, Rule] = {
    "activation": values.activation,
    "batch_norm": weights.batch_norm,
    "channel_scale": weights.channel_scale,
    "concatenate": values.concatenate,
    "depthwise": weights.depthwise,
    "elementwise": values.elementwise,
    "embedding": weights.embedding,
    "joined": values.joined,
    "keep": keep,
    "kernel": weights.kernel_layer,
    "matmul": values.matmul,
    "mean": values.mean,
    "position": weights.position,
    "product": values.product,
    "reshape": values.reshape,
    "separable": weights.separable,
    "softmax": values.softmax,
    "spatial": values.spatial,
    "transpose": values.transpose,
}
OF_MANY = (
    keep,
    values.joined,
    values.product,
    values.concatenate,
    values.matmul,
)
# Zeros that come in in all inputs go out as zeros.
ZERO_KEEPING = (
    weights.channel_scale,
    values.joined,
    values.spatial,
    values.mean,
    values.reshape,
    values.transpose,
    values.concatenate,
)


def trace(model: keras.Model) -> Trace:
    """Follow the channels through a flat functional model."""
    result = Trace(graph.nodes(model))
    for number, node in enumerate(result.nodes):
        # What is true or false is a mask of time steps.
        inputs = [result.of(x) for x in node.inputs if x.dtype != "bool"]
        rule = rule_of(node)
        covered = rule in OF_MANY or len(inputs) == 1
        outputs = rule(result, node, inputs) if rule and covered else None
        if outputs is None:
            outputs = _unknown(result, node, inputs)
        for x in node.outputs:
            channels = outputs if len(node.outputs) == 1 else kept(shape_of(x))
            result.tensors[id(x)] = channels
            if node.is_output:
                result.keep(channels)
        if rule is values.reshape:
            result.reshapes[number] = outputs.groups
    return result


def rule_of(node: graph.Node) -> Rule | None:
    """Return the rule for a use of a layer, or `None` if there is none."""
    if getattr(node.operation, "data_format", None) == "channels_first":
        return None
    channels = graph.traits_of(node.operation).channels
    return RULES[channels] if isinstance(channels, str) else channels


def _unknown(
    trace: Trace, node: graph.Node, inputs: list[Channels]
) -> Channels:
    for x in inputs:
        groups, zero = compact(x.groups, x.zero)
        trace.unknown.append(
            (node.operation.name, groups.ravel(), zero.ravel())
        )
    return kept(shape_of(node.outputs[0]))
