"""Following the channels through a network."""

from collections.abc import Callable, Mapping

import keras
import numpy as np

from kbp import graph
from kbp.sparsity.channels import rules
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.registry import rule_of
from kbp.sparsity.channels.tracing import (
    Channels,
    Read,
    Trace,
    combine,
    compact,
    kept,
    shape_of,
)

__all__ = ["blocked_by", "rules", "trace"]

# `(use, channels that go in, tensor, its channels) -> its channels`
Supposed = Callable[
    [graph.Node, list[Channels], keras.KerasTensor, Channels], Channels
]


def trace(model: keras.Model) -> Trace:
    """Follow the channels through a flat functional model."""
    result = Trace(graph.nodes(model))
    _follow(result)
    result.settle()
    return result


def blocked_by(
    traced: Trace, closed: Mapping[graph.Node, set[int]]
) -> dict[int, str]:
    """Say where channels are read that masks at some places do not make zero.

    The network is followed again. A channel is supposed to be zero behind the
    places that mask its group, and so is what becomes zero by that alone.

    Args:
        traced: the channels of a flat model.
        closed: for uses of layers, the groups that are masked behind them.

    Returns:
        By the group, the name of a layer.
    """

    def supposed(
        node: graph.Node,
        inputs: list[Channels],
        tensor: keras.KerasTensor,
        channels: Channels,
    ) -> Channels:
        (groups,) = compact(channels.groups)
        roots = traced.groups.roots(groups)
        before = [traced.groups.roots(compact(x.groups)[0]) for x in inputs]
        passed = np.concatenate([np.zeros(0, int), *map(np.ravel, before)])
        # Others are new, and others' zeros are none of theirs.
        passed = np.isin(roots, passed) & (roots != KEPT)
        mine = np.isin(roots, [*closed.get(node, ())])
        zero = combine(
            lambda sure, maybe, passed, mine: sure | (maybe & passed) | mine,
            [traced.of(tensor).zero, channels.zero, passed, mine],
            channels.shape,
        )
        return Channels(channels.groups, zero)

    again = Trace(traced.nodes, certain=traced)
    _follow(again, supposed)
    found: dict[int, str] = {}
    unknown = [
        Read(r.layer, r.groups, r.nothing & False) for r in again.unknown
    ]
    for read in (*again.reads, *unknown):
        for group in np.unique(traced.groups.roots(read.groups[~read.nothing])):
            found.setdefault(int(group), read.layer)
    return found


def _follow(result: Trace, supposed: Supposed | None = None) -> None:
    for number, node in enumerate(result.nodes):
        result.number = number
        # What is true or false is a mask of time steps.
        tensors = [x for x in node.inputs if x.dtype != "bool"]
        inputs = [result.of(x) for x in tensors]
        rule = rule_of(node)
        outputs = None
        if rule and inputs and (rule.of_many or len(inputs) == 1):
            outputs = rule.follow(result, node, inputs)
        if outputs is None:
            outputs = _unknown(result, node, inputs)
        if isinstance(outputs, Channels):
            single = [outputs]
            if len(node.outputs) > 1:
                single = [kept(shape_of(x)) for x in node.outputs]
            outputs = single
        for x, channels in zip(node.outputs, outputs, strict=True):
            if supposed:
                channels = supposed(node, inputs, x, channels)
            result.tensors[id(x)] = channels
            if any(x is given for given in node.results):
                result.keep(channels, "the model gives them")


def _unknown(
    trace: Trace, node: graph.Node, inputs: list[Channels]
) -> list[Channels]:
    for x in inputs:
        groups, zero = compact(x.groups, x.zero)
        trace.unknown.append(Read(trace.name, groups.ravel(), zero.ravel()))
    return [kept(shape_of(x)) for x in node.outputs]
