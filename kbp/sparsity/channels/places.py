"""Where a mask on a group of channels may stand.

Behind a use of a layer that gives its channels their last factor and offset:
there a factor of zero makes the channel zero for all that reads it, and can be
folded into the layer's weights later.
"""

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.graph import Node
from kbp.sparsity.channels import rules
from kbp.sparsity.channels import value_rules as values
from kbp.sparsity.channels import weight_rules as weights
from kbp.sparsity.channels.tracing import Trace, size_of

Places = dict[tuple[int, ...], list["Place"]]


@dataclass(frozen=True)
class Place:
    """Where a gate stands: behind a use of a layer.

    Attributes:
        node: the use.
        source: the use whose channels they are, see `source_of`.
        groups: of the channels, each once.
        repeats: neighbouring channels of one group.
    """

    node: Node
    source: Node
    groups: tuple[int, ...]
    repeats: int


def places_of(traced: Trace, dense: set[str]) -> Places:
    """Return the places for gates by the channel groups that they mask.

    Args:
        traced: the channels of a flat model.
        dense: names of layers whose channels all stay.
    """
    search = _Search(traced)
    found = [_place(traced, node) for node in search.nodes]
    uses = collections.Counter(node.operation for node in traced.nodes)
    gated = collections.Counter(node.operation for node in search.nodes)
    never = {int(traced.groups.roots(np.array([0]))[0])}
    for groups in (*search.blocked, *(u[1] for u in traced.unknown)):
        never.update(traced.groups.roots(groups).tolist())
    for node, place in zip(search.nodes, found, strict=True):
        if place is None or uses[node.operation] != gated[node.operation]:
            vector = traced.vector(traced.of(node.outputs[0]))
            never.update(() if vector is None else vector[0].tolist())
        elif {place.source.operation.name, node.operation.name} & dense:
            never.update(place.groups)
    # A layer that adds into a group belongs to it without a place of its own.
    for node in traced.nodes:
        if node.operation.name in dense and node.operation in traced.index_maps:
            for groups in traced.index_maps[node.operation].sizes.values():
                never.update(traced.groups.roots(groups).ravel().tolist())
    places: Places = {}
    for place in filter(None, found):
        places.setdefault(place.groups, []).append(place)
    shared = collections.Counter(x for groups in places for x in groups)
    return {
        groups: there
        for groups, there in places.items()
        if len(groups) > 1
        and not never & {*groups}
        and all(shared[x] == 1 for x in groups)
    }


def source_of(node: Node) -> Node:
    """Return the use that gives the channels behind a gate.

    That of the kernel layer before a BatchNormalization, or the use itself.
    """
    if isinstance(node.operation, layers.BatchNormalization):
        for before in node.producers:
            if gives_channels(before.operation):
                return before
    return node


def is_foldable(node: Node) -> bool:
    """Say whether a gate behind a use of a layer can be folded into it."""
    operation = node.operation
    if isinstance(operation, layers.BatchNormalization):
        return operation.scale
    return gives_channels(operation) and own_activation(operation) is None


def gives_channels(operation: keras.Operation) -> bool:
    """Say whether a layer's kernel has a slice for each channel it gives."""
    traits = graph.traits_of(operation)
    if "channel" not in traits.prunable:
        return False
    if traits.is_depthwise:
        return graph.kernel_of(operation).shape[-1] == 1
    return weights.is_cuttable(operation)


def own_activation(operation: keras.Operation) -> Callable[..., Any] | None:
    """Return a kernel layer's own activation, `None` for a linear one."""
    function = weights.activation_of(operation)
    return None if function is keras.activations.linear else function


class _Search:
    """Finds where channels must become zero for their readers to lose them.

    Attributes:
        nodes: the uses of layers behind which a gate can make them zero.
        blocked: channel groups that cannot become zero on the way to a reader.
    """

    def __init__(self, traced: Trace) -> None:
        self.traced = traced
        self.producer = {id(x): n for n in traced.nodes for x in n.outputs}
        self.seen: set[Node] = set()
        self.nodes: list[Node] = []
        self.blocked: list[np.ndarray] = []
        for node in traced.nodes:
            if rules.rule_of(node) in (weights.kernel_layer, weights.separable):
                self.demand(node.inputs[0])

    def demand(self, tensor: keras.KerasTensor) -> None:
        """Look for what can make the channels of a tensor zero."""
        todo = [tensor]
        while todo:
            node = self.producer.get(id(todo.pop()))
            if node is None or node in self.seen:
                continue
            self.seen.add(node)
            rule = rules.rule_of(node)
            if isinstance(
                node.operation, layers.BatchNormalization
            ) or gives_channels(node.operation):
                self.nodes.append(node)
            elif rule in (values.elementwise, values.activation):
                if _loses_zero(node):
                    self.block(node)
                todo.extend(node.inputs)
            elif rule is values.product:
                todo.append(max(node.inputs, key=size_of))
            elif rule is values.matmul:
                todo.append(node.inputs[1])  # the values that are attended to
            elif rule in rules.ZERO_KEEPING:
                todo.extend(node.inputs)
            else:
                self.block(node)

    def block(self, node: Node) -> None:
        """Note that what a use of a layer gives does not become zero."""
        for x in node.outputs:
            self.blocked.append(np.unique(self.traced.of(x).groups))


def _loses_zero(node: Node) -> bool:
    """Say whether a function of a channel of zeros gives others."""
    function = getattr(node.operation, "activation", node.operation)
    return isinstance(function, layers.Softmax) or not (
        values.keeps_zero(function, len(node.outputs[0].shape))
    )


def _place(traced: Trace, node: Node) -> Place | None:
    """Return the place behind a use, `None` if no gate fits there."""
    vector = traced.vector(traced.of(node.outputs[0]))
    if vector is None:
        return None
    activation = own_activation(node.operation)
    if activation is not None and not (
        values.is_elementwise(activation) and values.keeps_zero(activation)
    ):
        return None
    groups = vector[0].tolist()
    unique = list(dict.fromkeys(groups))
    repeats = len(groups) // len(unique)
    if groups != np.repeat(unique, repeats).tolist():
        return None
    return Place(node, source_of(node), tuple(unique), repeats)
