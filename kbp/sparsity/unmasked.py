"""Which layers keep all their weights or channels, and why."""

from collections.abc import Sequence

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_one_of
from kbp.layers import ChannelScale
from kbp.layers.transforms.dtm import GRANULARITIES
from kbp.sparsity.channels.ends import ends_of, has_kernel, is_prunable
from kbp.sparsity.channels.following import trace
from kbp.sparsity.channels.places import (
    SHARED,
    Reasons,
    gates_of,
    given_by,
    gives_channels,
    own_activation,
)
from kbp.sparsity.channels.rules.functions import is_elementwise, keeps_zero
from kbp.sparsity.channels.tracing import Trace
from kbp.sparsity.masks import masked_layers

FIRST_OR_LAST = "first or last layer"
SKIPPED = "named in `skip`"
UNREGISTERED = "of a class whose traits are not registered"
NEEDED = "all of its channels are needed where they are read"
ONLY_ONE = "it has one channel"
_SHOWN = 4  # names of one reason, and reasons
# Rules of layers that may have kernels of which nothing is masked.
_COVERED_BY_NONE = (None, "keep", "recurrent")


def left_out(
    model: keras.Model,
    *,
    granularity: str = "channel",
    skip: Sequence[str] = (),
    protect_ends: bool = True,
) -> dict[str, str]:
    """Say which layers get no mask by `apply_dtm`, and why.

    Args:
        model: a functional or built Sequential model. Of one that has masks of
            the granularity, the layers that these leave out.
        granularity: as of `apply_dtm`.
        skip: as of `apply_dtm`.
        protect_ends: as of `apply_dtm`.

    Returns:
        Reasons by the names of layers.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((8, 4))])
    >>> for name in ("stem", "middle", "head"):
    ...     model.add(keras.layers.Conv1D(4, 3, name=name))
    >>> kbp.sparsity.left_out(model)
    {'stem': 'first or last layer', 'head': 'first or last layer'}
    """
    check_one_of(GRANULARITIES, granularity=granularity)
    flat = graph.flatten(model)
    nodes = graph.nodes(flat)
    ends = ends_of(nodes) if protect_ends else set()
    gates = [x.innermost for x in masked_layers(flat)]
    if granularity == "element":
        masked_names = {x.name for x in gates}
        return _without_kernel_mask(nodes, skip, ends, masked_names)
    traced = trace(flat)
    free, reasons = gates_of(traced, set())
    given_free = {group for gate in free for group in gate.groups}
    masked = _masked(traced, [x for x in gates if isinstance(x, ChannelScale)])
    stand = bool(masked)
    if not masked:
        chosen, _ = gates_of(traced, {*skip, *ends})
        masked = {group for gate in chosen for group in gate.groups}
    of_ends = {
        group
        for node in traced.nodes
        if node.operation.name in ends
        for group in given_by(traced, node)
    }
    found: dict[str, str] = {}
    for node in traced.nodes:
        name = node.operation.name
        if reason := _not_covered(node.operation, "channels"):
            found[name] = reason
        if graph.traits_of(node.operation).is_depthwise or not gives_channels(
            node.operation
        ):
            continue
        given = given_by(traced, node)
        if given & masked:
            continue
        if name in skip:
            found[name] = SKIPPED
        elif name in ends:
            found[name] = FIRST_OR_LAST
        elif given & given_free:
            # Nothing else tells what was skipped when masks were made.
            skipped = stand and not given & of_ends
            found[name] = SKIPPED if skipped else SHARED
        else:
            found[name] = _why(traced, node, reasons)
    return found


def _not_covered(layer: keras.Operation, what: str) -> str:
    """Say that masks do not cover a layer with kernels; `""` if they do."""
    traits = graph.traits_of(layer)
    weights = getattr(layer, "trainable_weights", ())
    if (
        traits.channels not in _COVERED_BY_NONE
        or traits.prunable
        or all(len(weight.shape) < 2 for weight in weights)
    ):
        return ""
    return f"masks of {what} do not cover {type(layer).__name__}"


def _masked(traced: Trace, gates: list[ChannelScale]) -> set[int]:
    """Return the channel groups that a model's gates mask."""
    found: set[int] = set()
    for gate in gates:
        for axes in traced.index_maps[gate].weights.values():
            for groups in axes.values():
                found.update(traced.groups.roots(groups).tolist())
    return found


def _why(traced: Trace, node: graph.Node, reasons: Reasons) -> str:
    """Return why the channels of a use have no mask."""
    if node.outputs[0].shape[-1] == 1:
        return ONLY_ONE
    activation = own_activation(node.operation)
    if activation is not None and not (
        is_elementwise(activation) and keeps_zero(activation)
    ):
        name = getattr(activation, "__name__", "activation")
        return f"its {name} makes no zeros"
    groups = np.unique(traced.of(node.outputs[0]).groups)
    given = given_by(traced, node)
    found = [reasons[group] for group in sorted(given) if group in reasons]
    return next(iter([*traced.groups.why(groups), *found]), NEEDED)


def _without_kernel_mask(
    nodes: Sequence[graph.Node],
    skip: Sequence[str],
    ends: set[str],
    masked: set[str],
) -> dict[str, str]:
    """Return why kernels have no mask of single weights."""
    found = {}
    for node in nodes:
        name = node.operation.name
        if name in masked:
            continue
        if not has_kernel(node.operation):
            if reason := _not_covered(node.operation, "weights"):
                found[name] = reason
            continue
        if name in skip:
            found[name] = SKIPPED
        elif name in ends:
            found[name] = FIRST_OR_LAST
        elif not is_prunable(node.operation):
            found[name] = UNREGISTERED
        elif masked:
            found[name] = SKIPPED
    return found


def in_words(reasons: dict[str, str], what: str = "channels") -> str:
    """Return `left_out`'s findings as a sentence, `""` if there are none."""
    if not reasons:
        return ""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    shown = [*by_reason.items()][:_SHOWN]
    together = [f"{_names(names)} ({reason})" for reason, names in shown]
    if more := len(reasons) - sum(len(names) for _, names in shown):
        together.append(f"and {more} more for reasons of their own")
    return f"These layers keep all their {what}: {'; '.join(together)}."


def _names(names: Sequence[str]) -> str:
    """Return some of the names."""
    more = len(names) - _SHOWN
    said = ", ".join(names[:_SHOWN])
    return f"{said} and {more} more" if more > 0 else said
