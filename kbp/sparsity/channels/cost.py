"""What layers cost, and models without what their masks remove."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike

from kbp import graph
from kbp.layers import ChannelScale, TransformedLayer
from kbp.sparsity.channels.following import trace
from kbp.sparsity.channels.tracing import IndexMap, shape_of, size_of

COSTS = ("parameters", "multiply_adds", "latency")
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


class Times(Protocol):
    """What an operation takes, by the numbers of its channels."""

    def at(self, inputs: ArrayLike, outputs: ArrayLike) -> np.ndarray:
        """Return the milliseconds with so many that come in and go out."""


class TimedOperation(Protocol):
    """An operation of a network's file."""

    @property
    def layer(self) -> str:
        """Name of the layer whose channels it has."""

    @property
    def milliseconds(self) -> float:
        """What it takes with all channels."""

    @property
    def times(self) -> Times:
        """What it takes with fewer."""


class Table(Protocol):
    """What a network's operations take: a `kbp.export.LatencyTable`."""

    @property
    def operations(self) -> Sequence[TimedOperation]:
        """The operations of its file."""

    def whole(self, together: ArrayLike) -> np.ndarray:
        """Return what networks take, by the sums of their operations."""


def check_table(measure: str, table: Table | None) -> None:
    """Raise a ValueError unless there is a table for latencies alone."""
    if (measure == "latency") != (table is not None):
        raise ValueError(
            "Argument `table` belongs to `measure='latency'`, and must "
            "be what kbp.export.latency_table(model) gave of the model "
            f"without masks. Received: measure={measure!r}, table={table}"
        )


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
        first, *_ = keras.tree.flatten((node.arguments, node.keywords))
        return size_of(node.outputs[0]) * (first.shape[-1] or 1)
    return _places(node) * sum(math.prod(k.shape) for k in _kernels(operation))


class _Axis(NamedTuple):
    """How many channels stay along an axis.

    Attributes:
        fixed: those that always do.
        gates: how many each of a gate's channels stands for.
    """

    fixed: int
    gates: Mapping[int, float]

    def size(self, stays: np.ndarray) -> Any:
        """Return the number for channels of gates, `(..., gates)`."""
        parts = [n * stays[..., gate] for gate, n in self.gates.items()]
        return sum(parts, float(self.fixed))


@dataclass(frozen=True)
class _Weights:
    """The cost of one weight: a product over its axes.

    Attributes:
        factor: cost of all that is in none of the axes.
        axes: along which channels leave.
        mask: number and size of the mask on its single weights, or `None`.
    """

    factor: int
    axes: Sequence[_Axis]
    mask: tuple[int, int] | None

    def cost(self, stays: np.ndarray) -> Any:
        product: Any = float(self.factor)
        for axis in self.axes:
            product = product * axis.size(stays)
        if self.mask is not None:
            number, size = self.mask
            product = product * stays[..., number] / size
        return product


@dataclass(frozen=True)
class _Timed:
    """The cost of an operation whose times were measured."""

    times: Times
    inputs: _Axis
    outputs: _Axis

    def cost(self, stays: np.ndarray) -> Any:
        shape = stays.shape[:-1]
        return self.times.at(
            np.broadcast_to(self.inputs.size(stays), shape),
            np.broadcast_to(self.outputs.size(stays), shape),
        )


class Cost:
    """What a model costs without what its masks remove.

    Args:
        model: a flat model.
        masked: its layers with masks.
        measure: one of `COSTS`.
        table: with the measure `"latency"`, what `kbp.export.latency_table`
            measured of the model without masks.

    Raises:
        ValueError: the table is of another network.
    """

    def __init__(
        self,
        model: keras.Model,
        masked: Iterable[TransformedLayer],
        measure: str,
        table: Table | None = None,
    ) -> None:
        masked = [*masked]
        self.sizes = np.array([math.prod(x.kernel.shape) for x in masked])
        self.numbers = {id(layer.kernel): i for i, layer in enumerate(masked)}
        self.traced = trace(model)
        self.gate_of = {
            group: number
            for number, layer in enumerate(x.innermost for x in masked)
            if isinstance(layer, ChannelScale)
            for group in self.traced.groups.roots(
                self._mapping(layer).weights[id(layer.kernel)][0]
            ).tolist()
        }
        self.table, self.fixed = table, 0.0
        self.terms: list[_Weights | _Timed] = []
        if table is None:
            self._count(measure)
        else:
            self._time(table, model.name)
        self.total = float(self.left(np.zeros(len(masked), int)))

    def removed(self, counts: ArrayLike) -> Any:
        """Return the share of the cost that goes with so many of each mask.

        Args:
            counts: of the masks, `(..., masks)`.
        """
        return 1.0 - self.left(counts) / self.total

    def left(self, counts: ArrayLike) -> Any:
        """Return the cost of what stays; arguments as of `removed`."""
        stays = self.sizes - np.asarray(counts)
        costs = (term.cost(stays) for term in self.terms)
        together = sum(costs) + self.fixed
        return together if self.table is None else self.table.whole(together)

    def _mapping(self, layer: keras.Operation) -> IndexMap:
        return self.traced.index_maps.get(layer, IndexMap({}))

    def _count(self, measure: str) -> None:
        """Let the cost be parameters or multiply-adds."""
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

    def _add(
        self, layer: keras.Operation, weight: keras.Variable, places: int
    ) -> None:
        """Add a weight that is used at so many places."""
        found = self._mapping(layer).weights.get(id(weight), {})
        axes = [self._axis(groups) for groups in found.values()]
        factor = places * math.prod(weight.shape)
        for groups in found.values():
            factor //= len(groups)
        number = self.numbers.get(id(weight))
        mask = None if number is None else (number, int(self.sizes[number]))
        self.terms.append(_Weights(factor, axes, mask))

    def _time(self, table: Table, name: str) -> None:
        """Let the cost be the milliseconds of a table."""
        nodes = {node.operation.name: node for node in self.traced.nodes}
        for operation in table.operations:
            if not operation.layer:
                self.fixed += operation.milliseconds
            node = nodes.get(operation.layer)
            if node is None:  # of a branch that was left out
                continue
            sides = (self._last(x) for x in (node.inputs[0], node.outputs[0]))
            self.terms.append(_Timed(operation.times, *sides))
        if not self.terms:
            raise ValueError(
                f"Argument `table` is of another network than {name}: it names "
                "none of its layers. Make it with kbp.export.latency_table("
                "model), of the model without masks."
            )

    def _last(self, tensor: keras.KerasTensor) -> _Axis:
        """Return what stays along a tensor's last axis."""
        found = self.traced.vector(self.traced.of(tensor))
        if found is None:  # differs along others
            return _Axis(shape_of(tensor)[-1], {})
        return self._axis(found[0])

    def _axis(self, groups: np.ndarray) -> _Axis:
        roots = self.traced.groups.roots(groups).tolist()
        occurrences = collections.Counter(
            self.gate_of[group] for group in roots if group in self.gate_of
        )
        gates = {g: n / int(self.sizes[g]) for g, n in occurrences.items()}
        return _Axis(len(roots) - occurrences.total(), gates)


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
