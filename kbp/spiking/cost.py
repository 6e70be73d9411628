"""What an answer of a spiking network costs."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp._utils.examples import first, shapes_of
from kbp.spiking.encoders import DeltaModulation, Latency, PoissonRate
from kbp.spiking.neurons import IntegrateAndFire
from kbp.spiking.over_time import OverTime

MULTIPLY_ADD, ADD = 4.6e-12, 0.9e-12  # joules
_SPIKES = (IntegrateAndFire, PoissonRate, Latency, DeltaModulation)


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs for one example, in the mean.

    Attributes:
        name: of the layer.
        neurons: how many fire; 0 of a layer with weights.
        spikes: of all its neurons, over all time steps.
        synaptic_operations: additions of a weight, one for each spike and each
            weight behind it that is not 0.
        multiply_adds: products of currents with weights that are not 0.
        dense_multiply_adds: what it would take to compute it once of values
            that are not spikes.
    """

    name: str
    neurons: int = 0
    spikes: float = 0.0
    synaptic_operations: float = 0.0
    multiply_adds: float = 0.0
    dense_multiply_adds: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What a spiking network costs for one example, in the mean.

    Attributes:
        layers: with neurons or weights, in order.
        timesteps: how long it runs.
    """

    layers: tuple[LayerCost, ...]
    timesteps: int

    def total(self, name: str) -> float:
        """Return the sum of a figure of `LayerCost` over all layers."""
        return float(sum(getattr(layer, name) for layer in self.layers))

    @property
    def energy(self) -> float:
        """Joules, of operations alone: memory and idle neurons are not in it.

        4.6 pJ a multiply-add and 0.9 pJ an addition in float32 at 45 nm, of
        Horowitz, Computing's Energy Problem, 2014.
        """
        return MULTIPLY_ADD * self.total("multiply_adds") + ADD * self.total(
            "synaptic_operations"
        )

    @property
    def dense_energy(self) -> float:
        """Joules of the same layers, computed once of values."""
        return MULTIPLY_ADD * self.total("dense_multiply_adds")


def cost(model: keras.Model, data: Any, *, examples: int = 64) -> Cost:
    """Count spikes and operations of a spiking network.

    An operation counts where both the value and the weight are not 0. What is
    computed once, before the first neurons, counts once.

    Args:
        model: of `to_spiking`, or of layers of `kbp.spiking`.
        data: inputs in any form that `fit` takes.
        examples: how many of them to take.

    Returns:
        The cost of an example, in the mean, by layer.

    Raises:
        ValueError: the model has no spiking neurons, or the data do not fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> inputs = keras.Input((10, 2))
    >>> x = kbp.spiking.IntegrateAndFire()(inputs)
    >>> dense = kbp.spiking.OverTime(keras.layers.Dense(3))
    >>> model = keras.Model(inputs, kbp.spiking.Readout()(dense(x)))
    >>> found = kbp.spiking.cost(model, np.ones((1, 10, 2), "float32"))
    >>> found.total("spikes"), found.total("synaptic_operations")
    (20.0, 60.0)
    """
    check_integer(examples=examples)
    model, found = graph.retraced(model)
    kinds = [_kind(node) for node in found]
    if "neurons" not in kinds:
        raise ValueError(f"Model {model.name} has no spiking neurons.")
    of_spikes = _of_spikes(found, kinds)
    asked = [
        (node, kind) for node, kind in zip(found, kinds, strict=True) if kind
    ]
    tensors = [
        node.outputs[0] if kind == "neurons" else node.inputs[0]
        for node, kind in asked
    ]
    watched = keras.Model(model.input, tensors)
    counts = [_counted(node) if k == "weights" else _same for node, k in asked]
    sums, seen = np.zeros(len(asked)), 0
    for batch in first(data, shapes_of(model), "Data", examples):
        seen += len(batch)
        values = keras.tree.flatten(
            watched(batch.for_model(model), training=False)
        )
        for i, (x, count) in enumerate(zip(values, counts, strict=True)):
            ones = ops.cast(x != 0, "float32")
            sums[i] += float(ops.sum(count(ones)))
    layers, times = [], [1]
    for (node, kind), count, total in zip(
        asked, counts, sums / seen, strict=True
    ):
        shape = tuple(node.inputs[0].shape)
        if kind == "neurons":
            times.append(shape[1])
            layer = LayerCost(
                node.operation.name, int(np.prod(shape[2:])), spikes=total
            )
        else:
            timed = isinstance(node.operation, OverTime)
            step = (1, 1, *shape[2:]) if timed else (1, *shape[1:])
            name = "multiply_adds"
            if id(node.inputs[0]) in of_spikes:
                name = "synaptic_operations"
            layer = LayerCost(
                node.operation.name,
                dense_multiply_adds=float(ops.sum(count(ops.ones(step)))),
                **{name: total},
            )
        layers.append(layer)
    return Cost(tuple(layers), max(times))


def _same(ones: Any) -> Any:
    return ones


def _inner(node: graph.Node) -> keras.Operation:
    layer = node.operation
    return layer.layer if isinstance(layer, OverTime) else layer


def _kind(node: graph.Node) -> str:
    """Say whether a use fires ("neurons"), has "weights", or neither."""
    if isinstance(node.operation, IntegrateAndFire):
        return "neurons"
    return "weights" if graph.traits_of(_inner(node)).kernel else ""


def _of_spikes(found: list[graph.Node], kinds: list[str]) -> set[int]:
    """Return the tensors that are 0 but for spikes, by their ids."""
    known: set[int] = set()
    for node, kind in zip(found, kinds, strict=True):
        passes = (
            kind != "weights"
            and node.inputs
            and all(id(x) in known for x in node.inputs)
        )
        if passes or isinstance(node.operation, _SPIKES):
            known.update(id(x) for x in node.outputs)
    return known


def _counted(node: graph.Node) -> Any:
    """Return `count(ones) -> operations`, of where values are not 0."""
    layer = _inner(node)
    copy = graph.copy_layer(layer, use_bias=False)
    kernel = graph.kernel_of(copy)
    kernel.assign((graph.values_of(kernel) != 0).astype("float32"))

    def count(ones: Any) -> Any:
        if isinstance(node.operation, OverTime):
            ones = ops.reshape(ones, (-1, *ones.shape[2:]))
        return copy(ones)

    return count
