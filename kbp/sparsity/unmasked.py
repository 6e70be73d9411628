"""Which layers keep all their weights or channels, and why."""

from collections.abc import Iterable, Sequence

import keras

from kbp import graph
from kbp._utils.arguments import check_one_of
from kbp.layers.transforms.dtm import GRANULARITIES
from kbp.sparsity.apply import ends_of, has_kernel, is_prunable
from kbp.sparsity.channels.places import gives_channels, places_of
from kbp.sparsity.channels.rules import trace
from kbp.sparsity.channels.tracing import Trace

FIRST_OR_LAST = "first or last layer"
SKIPPED = "named in `skip`"
SHARED = "added to, or joined with, channels of such a layer"
UNREGISTERED = "of a class whose traits are not registered"
NEEDED = "all of its channels are needed where they are read"


def left_out(
    model: keras.Model,
    *,
    granularity: str = "channel",
    skip: Sequence[str] = (),
    protect_ends: bool = True,
) -> dict[str, str]:
    """Say which layers get no mask by `apply_dtm`, and why.

    Args:
        model: a functional or built Sequential model without masks.
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
    if granularity == "element":
        return _without_kernel_mask(nodes, skip, ends)
    traced = trace(flat)
    masked, free = (
        {group for groups in places_of(traced, dense) for group in groups}
        for dense in ({*skip, *ends}, set[str]())
    )
    found = {}
    for node in traced.nodes:
        name = node.operation.name
        if graph.traits_of(node.operation).is_depthwise or not gives_channels(
            node.operation
        ):
            continue
        given = _groups(traced, node)
        if given & masked:
            continue
        if name in skip:
            found[name] = SKIPPED
        elif name in ends:
            found[name] = FIRST_OR_LAST
        else:
            found[name] = SHARED if given & free else NEEDED
    return found


def _without_kernel_mask(
    nodes: Sequence[graph.Node], skip: Sequence[str], ends: set[str]
) -> dict[str, str]:
    """Return why kernels have no mask of single weights."""
    found = {}
    for node in nodes:
        name = node.operation.name
        if not has_kernel(node.operation):
            continue
        if name in skip:
            found[name] = SKIPPED
        elif name in ends:
            found[name] = FIRST_OR_LAST
        elif not is_prunable(node.operation):
            found[name] = UNREGISTERED
    return found


def in_words(reasons: dict[str, str], what: str = "channels") -> str:
    """Return `left_out`'s findings as a sentence, `""` if there are none."""
    if not reasons:
        return ""
    together = (
        f"{_names(n for n, r in reasons.items() if r == reason)} ({reason})"
        for reason in dict.fromkeys(reasons.values())
    )
    return f"These layers keep all their {what}: {'; '.join(together)}."


def _names(names: Iterable[str]) -> str:
    """Return some of the names."""
    first, *rest = list(names)
    shown = [first, *rest[:3]]
    more = len(rest) + 1 - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _groups(traced: Trace, node: graph.Node) -> set[int]:
    """Return the channel groups that a use of a layer gives."""
    vector = traced.vector(traced.of(node.outputs[0]))
    return set() if vector is None else set(vector[0].tolist())
