"""What is known of the channels of a network's tensors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp.sparsity.channels.groups import KEPT, ChannelGroups

# `cut(values, stays) -> values`, without the channels that go.
Cut = Callable[[np.ndarray, np.ndarray], np.ndarray]
# `call(layer, stays, *args, **kwargs) -> outputs`, in the smaller model.
Call = Callable[..., Any]


@dataclass(frozen=True)
class Channels:
    """What is known of a tensor.

    Attributes:
        groups: the channel group of each value, of the tensor's shape without
            the batch.
        zero: whether each value is zero, whatever the model's input.
    """

    groups: np.ndarray
    zero: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor without the batch."""
        return self.groups.shape


@dataclass(frozen=True)
class IndexMap:
    """Which channel groups stand along the axes of a layer's weights.

    The layer gets smaller by the groups that go.

    Attributes:
        weights: by a weight's id, the groups along its axes.
        sizes: for each argument of the layer, the groups that it counts.
        arguments: from which groups stay to an argument, where it is no count.
        tied: more groups that are the same at each use.
        cuts: by a weight's id, how it is cut where that is not along one axis
            after the other.
    """

    weights: dict[int, dict[int, np.ndarray]]
    sizes: dict[str, np.ndarray] = field(default_factory=dict)
    arguments: dict[str, Callable[[np.ndarray], Any]] = field(
        default_factory=dict
    )
    tied: list[np.ndarray] = field(default_factory=list)
    cuts: dict[int, Cut] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """A use that sums over channels.

    Attributes:
        layer: its name.
        groups: of the channels, `(channels,)`.
        nothing: whether each adds nothing to the sum, `(channels,)`.
    """

    layer: str
    groups: np.ndarray
    nothing: np.ndarray


class Trace:
    """What the layers of a model do with channels.

    Args:
        nodes: the uses of layers, in order.
        certain: an earlier trace without what this one supposes to be zero.

    Attributes:
        nodes: as given.
        number: of the use that is followed.
        groups: all channel groups.
        tensors: from a symbolic tensor's id to its channels.
        reads: the uses that sum over channels.
        unknown: uses that no rule covers, as if they read the channels.
        index_maps: for each layer with weights or sizes, its mapping.
        calls: by the number of a use, how it is called in the smaller model.
    """

    def __init__(
        self, nodes: list[graph.Node], certain: "Trace | None" = None
    ) -> None:
        self.nodes, self.certain = nodes, certain or self
        self.number = 0
        self.groups = ChannelGroups()
        self.tensors: dict[int, Channels] = {}
        self.reads: list[Read] = []
        self.unknown: list[Read] = []
        self.index_maps: dict[keras.Operation, IndexMap] = {}
        self.calls: dict[int, Call] = {}

    @property
    def name(self) -> str:
        """Name of the layer that is followed."""
        return self.nodes[self.number].operation.name

    def of(self, tensor: keras.KerasTensor) -> Channels:
        """Return a tensor's channels; those of a model's input are kept."""
        return self.tensors.get(id(tensor)) or kept(shape_of(tensor))

    def vector(self, x: Channels) -> tuple[np.ndarray, np.ndarray] | None:
        """Return groups and zeros along the last axis.

        `None` if the groups differ along other axes.
        """
        rows = self.groups.roots(_rows(x.groups))
        if (rows != rows[:1]).any():
            return None
        size = x.shape[-1:]
        return (
            np.broadcast_to(rows[0], size),
            np.broadcast_to(_rows(x.zero).all(axis=0), size),
        )

    def along_last(self, x: Channels) -> tuple[np.ndarray, np.ndarray]:
        """Return groups and zeros along the last axis, merged along others."""
        rows = _rows(x.groups)
        self.merge(rows, rows[:1])
        size = x.shape[-1:]
        return (
            np.broadcast_to(rows[0], size),
            np.broadcast_to(_rows(x.zero).all(axis=0), size),
        )

    def varying(self, x: Channels) -> list[int]:
        """Return the axes along which groups differ."""
        (groups,) = compact(x.groups)
        roots = self.groups.roots(groups)
        return [
            axis
            for axis in range(roots.ndim)
            if (roots != roots.take([0], axis)).any()
        ]

    def merge_along(self, x: Channels, axis: int) -> None:
        """Let groups not differ along an axis."""
        (groups,) = compact(x.groups)
        self.merge(groups, groups.take([0], axis))

    def merge(self, groups: np.ndarray, others: np.ndarray | int) -> None:
        """Let channels go together."""
        reason = f"{self.name} joins them with channels that stay"
        self.groups.merge(groups, others, reason)

    def keep(self, x: Channels, reason: str = "") -> None:
        """Let nothing of a tensor go."""
        (groups,) = compact(x.groups)
        reason = reason or f"{self.name} needs all of its channels"
        self.groups.merge(groups, KEPT, reason)

    def keep_through(
        self, node: graph.Node, inputs: Sequence[Channels]
    ) -> list[Channels]:
        """Let nothing go of what a layer reads and gives."""
        for x in inputs:
            self.keep(x)
        return [kept(shape_of(x)) for x in node.outputs]

    def read(self, groups: np.ndarray, nothing: np.ndarray) -> None:
        """Note that a layer sums over channels.

        Args:
            groups: of the channels.
            nothing: whether each adds nothing to the sum.
        """
        self.reads.append(Read(self.name, groups, nothing))

    def map(self, layer: keras.Operation, mapping: IndexMap) -> IndexMap:
        """Note a layer's mapping; at its second use, the same channels."""
        first = self.index_maps.setdefault(layer, mapping)
        for weight, axes in mapping.weights.items():
            for axis, groups in axes.items():
                if axis in first.weights[weight]:
                    self.merge(first.weights[weight][axis], groups)
        for argument, groups in mapping.sizes.items():
            self._merge_sizes(first.sizes[argument], groups)
        for ours, others in zip(first.tied, mapping.tied, strict=True):
            self.merge(ours, others)
        return first

    def _merge_sizes(self, first: np.ndarray, groups: np.ndarray) -> None:
        """Merge what an argument counts at two uses, perhaps of two sizes."""
        if first.shape != groups.shape:
            # Only channels along the last axis can be the same at both.
            first, groups = (
                x.reshape(-1, x.shape[-1]) for x in (first, groups)
            )
            self.merge(first, first[:1])
            self.merge(groups, groups[:1])
            first, groups = first[0], groups[0]
            if first.shape != groups.shape:
                for part in (first, groups):
                    self.merge(part, KEPT)
                return
        self.merge(first, groups)

    def call_by(self, call: Call) -> None:
        """Note how the use that is followed is called in the smaller model."""
        self.calls[self.number] = call

    def settle(self) -> None:
        """Let each tensor stay a rectangle, whatever goes.

        Its groups differ along one axis in the end, that of the most channels.
        """
        changed = True
        while changed:
            changed = False
            for number, node in enumerate(self.nodes):
                self.number = number
                for x in node.outputs:
                    changed |= self.make_rectangular(self.of(x))

    def make_rectangular(self, x: Channels) -> bool:
        """Let groups differ along one axis; say whether that merged any."""
        axes = self.varying(x)
        if len(axes) < 2:
            return False
        (groups,) = compact(x.groups)
        roots = self.groups.roots(groups)
        most = max(
            axes,
            key=lambda axis: len(
                np.unique(
                    np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1),
                    axis=0,
                )
            ),
        )
        for axis in axes:
            if axis != most:
                self.merge_along(x, axis)
        return True

    def removable(self) -> np.ndarray:
        """Return for each group whether it can go, `(groups,)`.

        Raises:
            ValueError: a layer without a rule is all that stands in the way.
        """
        roots = self.groups.roots(np.arange(len(self.groups.parents)))
        can_go = roots != KEPT
        for read in self.reads:
            can_go[roots[read.groups[~read.nothing]]] = False
        for read in self.unknown:
            stuck = np.unique(roots[read.groups[read.nothing]])
            if can_go[stuck].any():
                raise ValueError(
                    f"Layer {read.layer} cannot be shrunk: no rule tells how "
                    f"it uses channels, and {int(can_go[stuck].sum())} of "
                    "those it sees are pruned. Register its traits with "
                    "kbp.graph.register_layer_traits, leave the layers around "
                    "it dense (`skip`), or replace it by a known layer."
                )
        for read in self.unknown:
            can_go[roots[read.groups]] = False
        return can_go[roots]


def shape_of(tensor: keras.KerasTensor) -> tuple[int, ...]:
    """Return a tensor's shape without the batch, unknown sizes as 1."""
    return tuple(size or 1 for size in tensor.shape[1:])


def size_of(tensor: keras.KerasTensor) -> int:
    """Return the number of a tensor's values for one example."""
    return math.prod(shape_of(tensor))


def constants_of(node: graph.Node) -> list[Any]:
    """Return what a use takes besides symbolic tensors."""
    every = keras.tree.flatten((node.arguments, node.keywords))
    return [x for x in every if not isinstance(x, keras.KerasTensor)]


def has_arrays(node: graph.Node) -> bool:
    """Say whether a use takes arrays, whose channels are not followed."""
    return any(np.ndim(x) for x in constants_of(node))


def kept(shape: tuple[int, ...]) -> Channels:
    """Return channels of which nothing is known, and nothing can go."""
    return Channels(np.broadcast_to(KEPT, shape), np.broadcast_to(False, shape))


def spread(
    groups: np.ndarray, zero: np.ndarray, shape: tuple[int, ...]
) -> Channels:
    """Return channels whose groups run along the last axis of a shape."""
    return Channels(
        np.broadcast_to(groups, shape), np.broadcast_to(zero, shape)
    )


def compact(*arrays: np.ndarray) -> list[np.ndarray]:
    """Cut the axes along which all arrays are only repeated to size 1."""
    index = tuple(
        slice(0, 1) if not any(strides) else slice(None)
        for strides in zip(*(array.strides for array in arrays), strict=True)
    )
    return [array[index] for array in arrays]


def combine(
    function: Callable[..., np.ndarray],
    arrays: Sequence[np.ndarray],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Apply a function of arrays, each broadcast to a shape."""
    views = [np.broadcast_to(array, shape) for array in arrays]
    return np.broadcast_to(function(*compact(*views)), shape)


def _rows(array: np.ndarray) -> np.ndarray:
    """Return an array with all axes but the last as one, (rows, size)."""
    (array,) = compact(array)
    return array.reshape(-1, array.shape[-1])
