"""Where masks on groups of channels may stand.

Behind a use of a layer that gives its channels their last factor and offset:
there a factor of zero makes the channel zero for all that reads it, and can be
folded into the layer's weights later.
"""

import collections
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.graph import Node
from kbp.sparsity.channels.following import blocked_by
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.registry import rule_of
from kbp.sparsity.channels.rules.functions import is_elementwise, keeps_zero
from kbp.sparsity.channels.rules.kernels import activation_of, is_cuttable
from kbp.sparsity.channels.tracing import Trace

SHARED = "added to, or joined with, channels of such a layer"
ALONE = "they can only go all at once"
# From the groups that cannot be masked to the reasons.
Reasons = dict[int, str]


@dataclass(frozen=True)
class Place:
    """Where a gate stands: behind a use of a layer.

    Attributes:
        node: the use.
        source: the use whose channels they are, see `source_of`.
        numbers: of each channel's group among those that the gate masks, -1
            for a channel of another, `(channels,)`.
    """

    node: Node
    source: Node
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Gate:
    """Channel groups that one mask decides about.

    Attributes:
        groups: as they are numbered.
        places: at which all of them are masked.
    """

    groups: tuple[int, ...]
    places: tuple[Place, ...]

    @property
    def arrangements(self) -> list[tuple[int, ...]]:
        """The different numberings of channels at the places."""
        return list(dict.fromkeys(place.numbers for place in self.places))


def gates_of(traced: Trace, dense: set[str]) -> tuple[list[Gate], Reasons]:
    """Return the gates that a model can have, and why other groups have none.

    Args:
        traced: the channels of a flat model.
        dense: names of layers whose channels all stay.
    """
    closed = _Search(traced).found
    reasons: Reasons = {}
    for group, reader in blocked_by(traced, closed).items():
        reasons[group] = f"{reader} gets no zeros, whatever is masked"
    # A layer that adds into a group belongs to it without a place of its own.
    for node in traced.nodes:
        name = node.operation.name
        if {source_of(node).operation.name, name} & dense:
            reasons |= dict.fromkeys(given_by(traced, node), SHARED)
    _leave_out_partly_used(traced, closed, reasons)
    together: dict[frozenset[Node], list[int]] = {}
    places_of: dict[int, list[Node]] = {}
    for node, groups in closed.items():
        for group in groups - {*reasons}:
            places_of.setdefault(group, []).append(node)
    for group in sorted(places_of):
        together.setdefault(frozenset(places_of[group]), []).append(group)
    gates = []
    for members in together.values():
        if len(members) > 1:
            nodes = places_of[members[0]]
            places = (_place(traced, node, members) for node in nodes)
            gates.append(Gate(tuple(members), tuple(places)))
        else:
            reasons[members[0]] = ALONE
    return gates, reasons


def _leave_out_partly_used(
    traced: Trace, closed: dict[Node, set[int]], reasons: Reasons
) -> None:
    """Leave out groups that are not masked at each use of a layer."""
    uses: dict[keras.Operation, list[Node]] = {}
    for node in traced.nodes:
        uses.setdefault(node.operation, []).append(node)
    for node, groups in closed.items():
        for other in uses[node.operation]:
            for group in groups - closed.get(other, set()):
                reasons.setdefault(group, ALONE)


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
    return is_cuttable(operation)


def own_activation(operation: keras.Operation) -> Callable[..., Any] | None:
    """Return a kernel layer's own activation, `None` for a linear one."""
    function = activation_of(operation)
    return None if function is keras.activations.linear else function


def given_by(traced: Trace, node: Node) -> set[int]:
    """Return the channel groups along the last axis that a use gives."""
    found: set[int] = set()
    for x in node.outputs:
        if not traced.of(x).shape:
            continue
        vector = traced.vector(traced.of(x))
        found.update(() if vector is None else vector[0].tolist())
    return found


class _Search:
    """Finds where channels must become zero for their readers to lose them.

    Attributes:
        found: the uses of layers behind which gates stand, and the groups that
            have to become zero there.
    """

    def __init__(self, traced: Trace) -> None:
        self.traced = traced
        self.producer = {id(x): n for n in traced.nodes for x in n.outputs}
        self.seen: dict[int, set[int]] = collections.defaultdict(set)
        self.found: dict[Node, set[int]] = {}
        readers = {read.layer for read in traced.reads}
        for node in traced.nodes:
            if node.operation.name in readers:
                self.demand(node.inputs)

    def demand(self, tensors: Iterable[keras.KerasTensor]) -> None:
        """Look for what can make the channels of tensors zero."""
        groups: set[int]
        todo = [(x, self.groups(x)) for x in tensors]
        while todo:
            tensor, groups = todo.pop()
            node = self.producer.get(id(tensor))
            groups = (groups & self.groups(tensor)) - self.seen[id(tensor)]
            if node is None or not groups:
                continue
            self.seen[id(tensor)] |= groups
            if _is_place(node):
                self.found.setdefault(node, set()).update(groups)
            elif rule := rule_of(node):
                todo.extend((x, groups) for x in rule.demand(node))

    def groups(self, tensor: keras.KerasTensor) -> set[int]:
        groups = np.unique(self.traced.of(tensor).groups)
        return {*self.traced.groups.roots(groups).tolist()} - {KEPT}


def _is_place(node: Node) -> bool:
    """Say whether a gate fits behind a use."""
    operation = node.operation
    if isinstance(operation, layers.BatchNormalization):
        return True
    if not gives_channels(operation):
        return False
    activation = own_activation(operation)
    return activation is None or (
        is_elementwise(activation) and keeps_zero(activation)
    )


def _place(traced: Trace, node: Node, groups: list[int]) -> Place:
    vector = traced.vector(traced.of(node.outputs[0]))
    there = [] if vector is None else vector[0].tolist()
    number = {group: n for n, group in enumerate(groups)}
    numbers = tuple(number.get(group, -1) for group in there)
    return Place(node, source_of(node), numbers)
