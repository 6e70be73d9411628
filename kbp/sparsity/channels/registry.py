"""The rules by which channels pass through layers and operations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import keras

from kbp import graph
from kbp.errors import nearest
from kbp.sparsity.channels.tracing import Channels, Trace

Follow = Callable[
    [Trace, graph.Node, list[Channels]], Channels | list[Channels] | None
]
Demand = Callable[[graph.Node], list[keras.KerasTensor]]
_RULES: dict[str, "ChannelRule"] = {}
_Follow = TypeVar("_Follow", bound=Follow)


def all_inputs(node: graph.Node) -> list[keras.KerasTensor]:
    """Return the inputs of a use."""
    return node.inputs


@dataclass(frozen=True)
class ChannelRule:
    """What is known of a kind of layer or operation.

    Attributes:
        follow: `follow(trace, node, inputs) -> outputs` takes the channels of
            the inputs and gives those of the output, or of each output; `None`
            if it does not cover the use.
        demand: the inputs whose channels have to be zero for those of the
            output to be.
        of_many: whether there may be several inputs.
    """

    follow: Follow
    demand: Demand = all_inputs
    of_many: bool = False


def register_channel_rule(
    name: str, *, demand: Demand = all_inputs, of_many: bool = False
) -> Callable[[_Follow], _Follow]:
    """Register a rule by the name that `LayerTraits.channels` gives it.

    Args:
        name: of the rule.
        demand: as of `ChannelRule`.
        of_many: as of `ChannelRule`.

    Raises:
        ValueError: another rule has the name.
    """

    def register(follow: _Follow) -> _Follow:
        if name in _RULES:
            raise ValueError(f"There is a channel rule {name!r} already.")
        _RULES[name] = ChannelRule(follow, demand, of_many)
        return follow

    return register


def rule_of(node: graph.Node) -> ChannelRule | None:
    """Return the rule for a use of a layer, or `None` if there is none.

    Raises:
        ValueError: the layer's traits name a rule that does not exist.
    """
    operation = node.operation
    if getattr(operation, "data_format", None) == "channels_first":
        return None
    channels = graph.traits_of(operation).channels
    if not isinstance(channels, str):
        return ChannelRule(channels) if channels else None
    if channels not in _RULES:
        raise ValueError(
            f"The traits of layer {operation.name} "
            f"({type(operation).__name__}) name an unknown channel rule. "
            f"Received: channels={channels!r}{nearest(channels, _RULES)}"
        )
    return _RULES[channels]


def rule_names() -> list[str]:
    """Return the names of all rules."""
    return sorted(_RULES)
