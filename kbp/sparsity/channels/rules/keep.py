"""What sees all channels at once."""

from kbp.graph import Node
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import Channels, Trace


@register_channel_rule("keep", of_many=True)
def keep(trace: Trace, node: Node, inputs: list[Channels]) -> list[Channels]:
    """Layers whose result depends on how many channels there are."""
    return trace.keep_through(node, inputs)
