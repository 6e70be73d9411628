"""Convolutions whose groups of channels do not see each other.

They stay convolutions of this kind: either whole groups go, with all that they
read and give, or each group loses as many channels as the others.
"""

from functools import partial

import numpy as np

from kbp.graph import Node, kernel_of, values_of
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.rules.functions import is_elementwise, keeps_zero
from kbp.sparsity.channels.rules.kernels import (
    activation_of,
    bias_is_zero,
    pairs,
    sized,
)
from kbp.sparsity.channels.tracing import Channels, Trace, shape_of, spread


@register_channel_rule("grouped")
def grouped(
    trace: Trace, node: Node, inputs: list[Channels]
) -> Channels | list[Channels]:
    """Convolutions with `groups`."""
    (x,), layer = inputs, node.operation
    if not is_elementwise(activation_of(layer)):
        return trace.keep_through(node, inputs)
    count, kernel = layer.groups, values_of(kernel_of(layer))
    read, zero = (v.reshape(count, -1) for v in trace.along_last(x))
    given = trace.groups.new(kernel.shape[-1])
    weights: dict[int, dict[int, np.ndarray]] = {}
    silent = np.broadcast_to(bias_is_zero(layer, weights, given), given.shape)
    nonzero = pairs(kernel)
    nonzero = nonzero.reshape(len(nonzero), count, -1).transpose(1, 0, 2)
    # (groups, channels read, channels given)

    def zeros_behind(zero: np.ndarray) -> np.ndarray:
        behind = ~(nonzero & ~zero[:, :, None]).any(axis=1)
        behind &= silent.reshape(count, -1)
        return behind & keeps_zero(activation_of(layer))

    certain = trace.certain.of(node.inputs[0]).zero.reshape(-1, read.size)
    certain = certain.all(axis=0).reshape(count, -1)
    rows = given.reshape(count, -1)
    whole = _tie(trace, (read, rows), (certain, zeros_behind(certain)))
    trace.read(read.ravel(), (zero | ~nonzero.any(axis=2)).ravel())
    weights[id(kernel_of(layer))] = {-1: given}
    mapping = sized(layer, weights, given)
    if whole:
        mapping.arguments["groups"] = partial(_count, read[:, 0])
    else:
        weights[id(kernel_of(layer))][-2] = read[0]
    mapping.tied.append(read)
    mapping.cuts[id(kernel_of(layer))] = partial(_cut, read, rows)
    trace.map(layer, mapping)
    behind = zeros_behind(zero).ravel()
    return spread(given, behind, shape_of(node.outputs[0]))


def _tie(
    trace: Trace,
    tables: tuple[np.ndarray, np.ndarray],
    zeros: tuple[np.ndarray, np.ndarray],
) -> bool:
    """Tie channels that go together; say whether these are whole groups.

    What takes more of the zeros that there are, or else what leaves more
    choices to a mask.

    Args:
        trace: where channels are tied.
        tables: of the channels read and given, `(groups, channels)` each.
        zeros: whether each is zero.
    """
    dead = np.concatenate(zeros, axis=1)  # (groups, channels of both)
    by_groups = int(dead.all(axis=1).sum()) * dead.shape[1]
    by_channels = sum(int(z.sum(axis=1).min()) * len(z) for z in zeros)
    widest = max(table.shape[1] for table in tables)
    free = not (trace.groups.roots(tables[0]) == KEPT).any()
    whole = (by_groups, len(dead)) > (by_channels, widest)
    if whole and free:
        together = np.concatenate(tables, axis=1)
        trace.merge(together, together[:, :1])
        return True
    for table, zero in zip(tables, zeros, strict=True):
        order = np.argsort(~zero, axis=1, kind="stable")
        table = np.take_along_axis(table, order, axis=1)
        trace.merge(table, table[:1])
    return False


def _count(groups: np.ndarray, stays: np.ndarray) -> int:
    return int(stays[groups].sum())


def _cut(
    read: np.ndarray, given: np.ndarray, kernel: np.ndarray, stays: np.ndarray
) -> np.ndarray:
    """Return a kernel `(..., channels read, channels given)` of what stays."""
    parts = np.split(kernel, len(read), axis=-1)
    smaller = [
        part[..., stays[inside], :][..., stays[outside]]
        for part, inside, outside in zip(parts, read, given, strict=True)
        if stays[outside].any()
    ]
    return np.concatenate(smaller, axis=-1)
