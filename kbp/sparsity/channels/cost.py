"""What layers cost, and models without what their masks remove."""

import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from kbp import graph
from kbp.layers import ChannelScale, TransformedLayer
from kbp.sparsity.channels.following import trace
from kbp.sparsity.channels.tracing import IndexMap, shape_of, size_of

COSTS = ("parameters", "multiply_adds")
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def multiply_adds(node: graph.Node) -> int:
    """Return the multiply-adds of one use of a layer on one example.

    Of layers with kernels and of matrix products; 0 for all others. Sizes that
    are not known count as 1.

    Args:
        node: the use.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> (node,) = kbp.graph.nodes(kbp.graph.flatten(model))
    >>> kbp.sparsity.multiply_adds(node)
    12
    """
    operation = node.operation
    if type(operation).__name__ == "Matmul":
        return size_of(node.outputs[0]) * shape_of(node.inputs[0])[-1]
    return _places(node) * sum(math.prod(k.shape) for k in _kernels(operation))


@dataclass(frozen=True)
class _Term:
    """The cost of one weight: a product over its axes.

    Attributes:
        factor: cost of all of its fixed axes.
        axes: for each axis that channels leave, how many are fixed, and how
            many each of a gate's channels stands for.
        mask: number of the mask on its single weights, or `None`.
    """

    factor: int
    axes: list[tuple[int, dict[int, float]]]
    mask: int | None


class Cost:
    """What a model costs without what its masks remove.

    Args:
        model: a flat model.
        masked: its layers with masks.
        measure: one of `COSTS`.
    """

    def __init__(
        self,
        model: keras.Model,
        masked: Sequence[TransformedLayer],
        measure: str,
    ) -> None:
        self.sizes = [math.prod(layer.kernel.shape) for layer in masked]
        self.numbers = {layer.layer: i for i, layer in enumerate(masked)}
        self.traced = trace(model)
        roots = self.traced.groups.roots
        self.gate_of = {
            group: number
            for layer, number in self.numbers.items()
            if isinstance(layer, ChannelScale)
            for group in roots(
                self._mapping(layer).weights[id(layer.kernel)][0]
            ).tolist()
        }
        self.terms: list[_Term] = []
        seen = set()
        for node in self.traced.nodes:
            layer = node.operation
            if measure == "multiply_adds":
                for kernel in _kernels(layer):
                    self._add(layer, kernel, _places(node))
            elif layer not in seen and not isinstance(layer, ChannelScale):
                for weight in getattr(layer, "weights", ()):
                    self._add(layer, weight, 1)
            seen.add(layer)
        self.total = self.left([0] * len(masked))

    def removed(self, counts: Sequence[int]) -> float:
        """Return the share of the cost that goes with so many of each mask."""
        return 1.0 - self.left(counts) / self.total

    def left(self, counts: Sequence[int]) -> float:
        """Return the cost of what stays."""
        stays = [s - c for s, c in zip(self.sizes, counts, strict=True)]
        cost = 0.0
        for term in self.terms:
            product = term.factor
            for fixed, gates in term.axes:
                product *= fixed + sum(n * stays[g] for g, n in gates.items())
            if term.mask is not None:
                product *= stays[term.mask] / self.sizes[term.mask]
            cost += product
        return cost

    def _mapping(self, layer: keras.Operation) -> IndexMap:
        return self.traced.index_maps.get(layer, IndexMap({}))

    def _add(
        self, layer: keras.Operation, weight: keras.Variable, places: int
    ) -> None:
        """Add a weight that is used at so many places."""
        mapping = self._mapping(layer).weights
        found = mapping.get(id(weight), {})
        axes: list[tuple[int, dict[int, float]]] = []
        factor = places * math.prod(weight.shape)
        for groups in found.values():
            roots = self.traced.groups.roots(groups).tolist()
            occurrences = collections.Counter(
                self.gate_of[group] for group in roots if group in self.gate_of
            )
            gates = {g: n / self.sizes[g] for g, n in occurrences.items()}
            axes.append((len(roots) - occurrences.total(), gates))
            factor //= len(roots)
        is_kernel = any(weight is kernel for kernel in _kernels(layer))
        mask = self.numbers.get(layer) if is_kernel else None
        self.terms.append(_Term(factor, axes, mask))


def _kernels(layer: keras.Operation) -> list[keras.Variable]:
    """Return the kernels that a layer multiplies with."""
    if isinstance(layer, ChannelScale) or not isinstance(layer, layers.Layer):
        return []
    traits = graph.traits_of(layer)
    names = {*_KERNELS, str(traits.kernel)} if traits.prunable else {*_KERNELS}
    named = (getattr(layer, name, None) for name in sorted(names))
    return [kernel for kernel in named if kernel is not None]


def _places(node: graph.Node) -> int:
    """Return how often each kernel's weight is used on one example."""
    operation, (outputs, *_) = node.operation, node.outputs
    if isinstance(operation, layers.EinsumDense):
        kernel, given = operation.equation.split(",")[1].split("->")
        shared = [
            size
            for letter, size in zip(kernel, operation.kernel.shape, strict=True)
            if letter in given
        ]
        return size_of(outputs) // math.prod(shared)
    is_transposed = graph.traits_of(operation).is_transposed
    x = node.inputs[0] if is_transposed else outputs
    return math.prod(shape_of(x)[:-1])
