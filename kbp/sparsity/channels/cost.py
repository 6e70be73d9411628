"""What layers cost, and models without what their masks remove."""

import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from kbp import graph
from kbp.layers import ChannelScale, TransformedLayer
from kbp.sparsity.channels.rules import trace
from kbp.sparsity.channels.tracing import Cut, shape_of, size_of

COSTS = ("parameters", "multiply_adds")
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def multiply_adds(call: graph.Node) -> int:
    """Return the multiply-adds of one use of a layer on one example.

    Of layers with kernels and of matrix products; 0 for all others. Sizes that
    are not known count as 1.
    """
    operation = call.operation
    if type(operation).__name__ == "Matmul":
        return size_of(call.outputs[0]) * shape_of(call.inputs[0])[-1]
    return _places(call) * sum(math.prod(k.shape) for k in _kernels(operation))


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
    ):
        self.sizes = [math.prod(layer.kernel.shape) for layer in masked]
        self.numbers = {layer.layer: i for i, layer in enumerate(masked)}
        self.traced = trace(model)
        roots = self.traced.labels.roots
        self.gate_of = {
            label: number
            for layer, number in self.numbers.items()
            if isinstance(layer, ChannelScale)
            for label in roots(self._cut(layer).weights["kernel"][0]).tolist()
        }
        self.terms: list[_Term] = []
        seen = set()
        for call in self.traced.calls:
            layer = call.operation
            if measure == "multiply_adds":
                for kernel in _kernels(layer):
                    self._add(layer, kernel, _places(call))
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

    def _cut(self, layer):
        return self.traced.cuts.get(layer, Cut({}))

    def _add(self, layer, weight, places):
        """Add a weight that is used at so many places."""
        cut = self._cut(layer).weights
        found = [a for name, a in cut.items() if getattr(layer, name) is weight]
        axes, factor = [], places * math.prod(weight.shape)
        for labels in found[0].values() if found else ():
            numbers = [
                self.gate_of.get(label)
                for label in self.traced.labels.roots(labels).tolist()
            ]
            occurrences = collections.Counter(numbers)
            fixed = occurrences.pop(None, 0)
            gates = {g: n / self.sizes[g] for g, n in occurrences.items()}
            axes.append((fixed, gates))
            factor //= len(numbers)
        is_kernel = any(weight is kernel for kernel in _kernels(layer))
        mask = self.numbers.get(layer) if is_kernel else None
        self.terms.append(_Term(factor, axes, mask))


def _kernels(layer):
    """Return the kernels that a layer multiplies with."""
    if isinstance(layer, ChannelScale) or not isinstance(layer, layers.Layer):
        return []
    named = (getattr(layer, name, None) for name in _KERNELS)
    return [kernel for kernel in named if kernel is not None]


def _places(call):
    """Return how often each kernel's weight is used on one example."""
    operation, (outputs, *_) = call.operation, call.outputs
    if isinstance(operation, layers.EinsumDense):
        kernel, given = operation.equation.split(",")[1].split("->")
        shared = [
            size
            for letter, size in zip(kernel, operation.kernel.shape, strict=True)
            if letter in given
        ]
        return size_of(outputs) // math.prod(shared)
    x = call.inputs[0] if isinstance(operation, _TRANSPOSED) else outputs
    return math.prod(shape_of(x)[:-1])
