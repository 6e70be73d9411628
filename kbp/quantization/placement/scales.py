"""Which tensors of a model have one scale, because LiteRT joins them."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from kbp.graph import Node
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.placement import rules

Tensor = Any  # symbolic


@dataclass(eq=False)
class Scale:
    """The scale of a join, of its operands, and of what they are copies of.

    An operand that also goes elsewhere is rounded to the scale of the join from
    the start: LiteRT would round it to its own first, and once more when it is
    joined. Inputs of the model alone keep ranges of their own, which are the
    data's.

    Attributes:
        kind: of the `FakeQuantize`.
        last: the last join, at which the range is measured.
        unrounded: all tensors rounded before it, as they were.
        rounder: rounds them all; made by the first use.
    """

    kind: str
    last: Node
    unrounded: list[Tensor] = field(default_factory=list)
    rounder: FakeQuantize | None = None


def shared(
    nodes: Sequence[Node], chosen: Container[keras.Operation]
) -> dict[int, Scale]:
    """Return the scales that several tensors share because of joins.

    Args:
        nodes: of a lowered model.
        chosen: layers that the user has decided about.

    Returns:
        From the ids of tensors of the nodes to their scales.
    """
    parents: dict[int, int] = {}

    def root(x: int) -> int:
        while parents.setdefault(x, x) != x:
            x = parents[x]
        return x

    def is_ours(operation: keras.Operation) -> bool:
        return operation not in chosen and not rules.demanded_range(operation)

    foreign = {
        id(x)
        for node in nodes
        if not is_ours(node.operation)
        for x in node.outputs
    }
    foreign.update(
        id(x)
        for node in nodes
        for x in (*node.inputs, *node.outputs)
        if not rules.is_float(x)
    )
    bound = [
        node
        for node in nodes
        if is_ours(node.operation)
        and (rules.joins(node.operation) or rules.is_same_scale(node.operation))
    ]
    for node in bound:
        for x in (*node.inputs, *node.outputs):
            if id(x) not in foreign and not rules.is_model_input(x):
                parents[root(id(x))] = root(id(node.outputs[0]))
    scales: dict[int, Scale] = {}
    for node in bound:
        if rules.joins(node.operation):
            found = scales.setdefault(
                root(id(node.outputs[0])), Scale("tensor", node)
            )
            found.last = node
    of_tensor = {x: scales[root(x)] for x in [*parents] if root(x) in scales}
    for node in nodes:
        for x in node.outputs:
            if id(x) in of_tensor and rules.kind(node) == "input":
                of_tensor[id(x)].kind = "input"
    return of_tensor
