"""What is known of the channels of a network's tensors."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from kbp import graph
from kbp.sparsity.channels.groups import KEPT, Labels


@dataclass(frozen=True)
class Channels:
    """What is known of a tensor.

    Attributes:
        labels: of each value, of the tensor's shape without the batch. Values
            of one label stay or go together.
        zero: whether each value is zero, whatever the model's input.
    """

    labels: np.ndarray
    zero: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor without the batch."""
        return self.labels.shape


@dataclass(frozen=True)
class Cut:
    """How a layer gets smaller with its labels.

    Attributes:
        weights: for each attribute that holds a weight, the labels along its
            axes.
        sizes: for each argument of the layer, the labels that it counts.
    """

    weights: dict[str, dict[int, np.ndarray]]
    sizes: dict[str, np.ndarray] = field(default_factory=dict)


class Trace:
    """What the layers of a model do with channels.

    Attributes:
        calls: the uses of layers, in order.
        labels: all labels.
        tensors: from a symbolic tensor's id to its channels.
        reads: labels that a layer sums over, and whether they give nothing
            there, as pairs of vectors.
        unknown: name, labels and zeros of what no rule covers.
        cuts: for each layer with weights or sizes, its cut.
        reshapes: for each call of a reshaping operation, the labels it gives.
    """

    def __init__(self, calls: list[graph.Node]):
        self.calls = calls
        self.labels = Labels()
        self.tensors: dict[int, Channels] = {}
        self.reads: list[tuple[np.ndarray, np.ndarray]] = []
        self.unknown: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.cuts: dict[keras.Operation, Cut] = {}
        self.reshapes: dict[int, np.ndarray] = {}

    def of(self, tensor: keras.KerasTensor) -> Channels:
        """Return a tensor's channels; those of a model's input are kept."""
        return self.tensors.get(id(tensor)) or kept(shape_of(tensor))

    def vector(self, x: Channels) -> tuple[np.ndarray, np.ndarray] | None:
        """Return labels and zeros along the last axis.

        `None` if the labels differ along other axes.
        """
        rows = self.labels.roots(_rows(x.labels))
        if (rows != rows[:1]).any():
            return None
        size = x.shape[-1:]
        return (
            np.broadcast_to(rows[0], size),
            np.broadcast_to(_rows(x.zero).all(axis=0), size),
        )

    def keep(self, x: Channels) -> None:
        """Let nothing of a tensor go."""
        (labels,) = compact(x.labels)
        self.labels.merge(labels, KEPT)

    def keep_through(self, call: graph.Node, x: Channels) -> Channels:
        """Let nothing go of what a layer reads and gives."""
        self.keep(x)
        return kept(shape_of(call.outputs[0]))

    def read(self, labels: np.ndarray, nothing: np.ndarray) -> None:
        """Note that a layer sums over channels.

        Args:
            labels: of the channels.
            nothing: whether each adds nothing to the sum.
        """
        self.reads.append((labels, nothing))

    def cut(self, layer: keras.Operation, cut: Cut) -> None:
        """Note how a layer is cut; at its second use, the same channels."""
        first = self.cuts.setdefault(layer, cut)
        for name, axes in cut.weights.items():
            for axis, labels in axes.items():
                self.labels.merge(first.weights[name][axis], labels)
        for name, labels in cut.sizes.items():
            self.labels.merge(first.sizes[name], labels)

    def removable(self) -> np.ndarray:
        """Return for each label whether it can go, `(labels,)`.

        Raises:
            ValueError: a layer without a rule is all that stands in the way.
        """
        roots = self.labels.roots(np.arange(len(self.labels.parents)))
        can_go = roots != roots[KEPT]
        for labels, nothing in self.reads:
            can_go[roots[labels[~nothing]]] = False
        for name, labels, zero in self.unknown:
            stuck = np.unique(roots[labels[zero]])
            if can_go[stuck].any():
                raise ValueError(
                    f"Layer {name} cannot be shrunk: no rule tells how it "
                    f"uses channels, and {int(can_go[stuck].sum())} of those "
                    "it sees are pruned. Leave the layers around it dense "
                    "(`skip`), or replace it by a known layer."
                )
        for _, labels, _ in self.unknown:
            can_go[roots[labels]] = False
        return can_go[roots]


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
    labels: np.ndarray, zero: np.ndarray, shape: tuple[int, ...]
) -> Channels:
    """Return channels whose labels run along the last axis of a shape."""
    return Channels(
        np.broadcast_to(labels, shape), np.broadcast_to(zero, shape)
    )


def compact(*arrays: np.ndarray) -> list[np.ndarray]:
    """Cut the axes along which all arrays are only repeated to size 1."""
    index = tuple(
        slice(0, 1) if not any(strides) else slice(None)
        for strides in zip(*(array.strides for array in arrays), strict=True)
    )
    return [array[index] for array in arrays]


def combine(function: Callable, arrays: list, shape: tuple) -> np.ndarray:
    """Apply a function of arrays, each broadcast to a shape."""
    views = [np.broadcast_to(array, shape) for array in arrays]
    return np.broadcast_to(function(*compact(*views)), shape)


def _rows(array):
    """Return an array with all axes but the last as one, (rows, size)."""
    (array,) = compact(array)
    return array.reshape(-1, array.shape[-1])
