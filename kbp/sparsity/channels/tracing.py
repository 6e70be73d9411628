"""What is known of the channels of a network's tensors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from kbp import graph
from kbp.sparsity.channels.groups import KEPT, ChannelGroups


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
        weights: for each attribute that holds a weight, the groups along its
            axes.
        sizes: for each argument of the layer, the groups that it counts.
    """

    weights: dict[str, dict[int, np.ndarray]]
    sizes: dict[str, np.ndarray] = field(default_factory=dict)


class Trace:
    """What the layers of a model do with channels.

    Attributes:
        nodes: the uses of layers, in order.
        groups: all channel groups.
        tensors: from a symbolic tensor's id to its channels.
        reads: groups that a layer sums over, and whether they give nothing
            there, as pairs of vectors.
        unknown: name, groups and zeros of what no rule covers.
        index_maps: for each layer with weights or sizes, its mapping.
        reshapes: from the number of a reshaping operation's node to the groups
            that it gives.
    """

    def __init__(self, nodes: list[graph.Node]) -> None:
        self.nodes = nodes
        self.groups = ChannelGroups()
        self.tensors: dict[int, Channels] = {}
        self.reads: list[tuple[np.ndarray, np.ndarray]] = []
        self.unknown: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.index_maps: dict[keras.Operation, IndexMap] = {}
        self.reshapes: dict[int, np.ndarray] = {}

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

    def keep(self, x: Channels) -> None:
        """Let nothing of a tensor go."""
        (groups,) = compact(x.groups)
        self.groups.merge(groups, KEPT)

    def keep_through(self, node: graph.Node, x: Channels) -> Channels:
        """Let nothing go of what a layer reads and gives."""
        self.keep(x)
        return kept(shape_of(node.outputs[0]))

    def read(self, groups: np.ndarray, nothing: np.ndarray) -> None:
        """Note that a layer sums over channels.

        Args:
            groups: of the channels.
            nothing: whether each adds nothing to the sum.
        """
        self.reads.append((groups, nothing))

    def map(self, layer: keras.Operation, mapping: IndexMap) -> None:
        """Note a layer's mapping; at its second use, the same channels."""
        first = self.index_maps.setdefault(layer, mapping)
        for name, axes in mapping.weights.items():
            for axis, groups in axes.items():
                self.groups.merge(first.weights[name][axis], groups)
        for name, groups in mapping.sizes.items():
            self.groups.merge(first.sizes[name], groups)

    def removable(self) -> np.ndarray:
        """Return for each group whether it can go, `(groups,)`.

        Raises:
            ValueError: a layer without a rule is all that stands in the way.
        """
        roots = self.groups.roots(np.arange(len(self.groups.parents)))
        can_go = roots != roots[KEPT]
        for groups, nothing in self.reads:
            can_go[roots[groups[~nothing]]] = False
        for name, groups, zero in self.unknown:
            stuck = np.unique(roots[groups[zero]])
            if can_go[stuck].any():
                raise ValueError(
                    f"Layer {name} cannot be shrunk: no rule tells how it "
                    f"uses channels, and {int(can_go[stuck].sum())} of those "
                    "it sees are pruned. Register its traits with "
                    "kbp.graph.register_layer_traits, leave the layers around "
                    "it dense (`skip`), or replace it by a known layer."
                )
        for _, groups, _ in self.unknown:
            can_go[roots[groups]] = False
        return can_go[roots]


Rule = Callable[[Trace, graph.Node, list[Channels]], Channels | None]


def shape_of(tensor: keras.KerasTensor) -> tuple[int, ...]:
    """Return a tensor's shape without the batch, unknown sizes as 1."""
    return tuple(size or 1 for size in tensor.shape[1:])


def size_of(tensor: keras.KerasTensor) -> int:
    """Return the number of a tensor's values for one example."""
    return math.prod(shape_of(tensor))


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
    """IndexMap the axes along which all arrays are only repeated to size 1."""
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
