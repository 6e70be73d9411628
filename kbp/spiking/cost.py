"""What an answer of a spiking network costs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp._utils.examples import Batch, first, shapes_of
from kbp.spiking.neurons import IntegrateAndFire
from kbp.spiking.over_time import OverTime
from kbp.spiking.separable import without_separable
from kbp.spiking.spike_counts import SpikeCounts, inside, ones_of, over_time

MULTIPLY_ADD, ADD = 4.6e-12, 0.9e-12  # joules
_AT_ONCE = 16  # examples


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs for one example, in the mean.

    Attributes:
        name: of the layer.
        neurons: how many fire; 0 of a layer with weights.
        spikes: of all its neurons, over all time steps.
        synaptic_operations: additions of a weight, one for each spike and each
            weight behind it that is not 0; also behind means and sums of
            spikes, which are made of several.
        multiply_adds: products of other values with weights that are not 0.
        dense_multiply_adds: what it would take to compute it once of values
            that are not spikes.

    Example:
    >>> from kbp.spiking import LayerCost
    >>> LayerCost("dense", synaptic_operations=120.0).neurons
    0
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
        examples: that it is the mean of.

    Example:
    >>> from kbp.spiking import Cost, LayerCost
    >>> layers = (LayerCost("in", spikes=3.0), LayerCost("out", spikes=1.5))
    >>> Cost(layers, timesteps=8, examples=10).total("spikes")
    4.5
    """

    layers: tuple[LayerCost, ...]
    timesteps: int
    examples: int

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

    An operation counts where both the value and the weight are not 0: as an
    addition, if the value is a spike. A mean or sum of spikes, such as of
    average pooling, is an addition of each weight behind it for each of its
    spikes. Other values, such as those behind a BatchNormalization, are
    multiplied. What is computed once, before the first neurons, counts once,
    and what layers without a kernel compute themselves does not.

    Inputs with a time, which an `OverTime` takes, are spikes if they are zeros
    and ones alone.

    Args:
        model: of `to_spiking`, or of layers of `kbp.spiking`.
        data: inputs in any form that `fit` takes.
        examples: how many of them to take; of arrays spread evenly, else the
            first ones.

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
    model, nodes = graph.retraced(without_separable(model))
    if not any(isinstance(x.operation, IntegrateAndFire) for x in nodes):
        raise ValueError(f"Model {model.name} has no spiking neurons.")
    batches = [*first(data, shapes_of(model), "Data", examples)]
    spikes = SpikeCounts(nodes, _spikes_given(model, nodes, batches))
    figures = [
        figure
        for figure in (_figure(node, spikes) for node in nodes)
        if figure is not None
    ]
    read = {id(x): x for x in spikes.sources}
    read |= {
        id(x.tensor): x.tensor
        for x in figures
        if id(x.tensor) not in spikes.known
    }
    watched = keras.Model(model.input, [*read.values()])
    for part in _parts(batches):
        found = watched(part.for_model(model), training=False)
        values = dict(zip(read, keras.tree.flatten(found), strict=True))
        counts = spikes.of(values)
        for figure in figures:
            place = id(figure.tensor)
            ones = counts.get(place)
            if ones is None:
                ones = ones_of(values[place])
            figure.add(ones)
    seen = sum(map(len, batches))
    times = [
        node.inputs[0].shape[1]
        for node in nodes
        if isinstance(node.operation, IntegrateAndFire)
    ]
    return Cost(tuple(x.mean(seen) for x in figures), max(times), seen)


def _spikes_given(
    model: keras.Model, nodes: list[graph.Node], batches: list[Batch]
) -> list[keras.KerasTensor]:
    """Return the inputs that are spikes: with a time, and of zeros and ones."""
    timed = {
        id(x)
        for node in nodes
        if isinstance(node.operation, OverTime)
        for x in node.inputs
    }
    return [
        x
        for place, x in enumerate(model.inputs)
        if id(x) in timed
        and all(np.isin(batch.inputs[place], (0, 1)).all() for batch in batches)
    ]


def _parts(batches: list[Batch]) -> Iterator[Batch]:
    """Yield batches that fit into memory with all that they become."""
    for batch in batches:
        for start in range(0, len(batch), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(batch))
            yield batch.take(np.arange(start, stop))


@dataclass
class _Figure:
    """What is counted of one use of a layer.

    Attributes:
        layer: its cost, of nothing yet.
        name: which of its figures is counted.
        tensor: whose values count.
        count: `count(ones) -> operations`, of how many values there are.
        total: of all examples.
    """

    layer: LayerCost
    name: str
    tensor: keras.KerasTensor
    count: Callable[[Any], Any]
    total: float = 0.0

    def add(self, ones: Any) -> None:
        self.total += float(ops.sum(self.count(ones)))

    def mean(self, examples: int) -> LayerCost:
        counted: dict[str, Any] = {self.name: self.total / examples}
        return replace(self.layer, **counted)


def _figure(node: graph.Node, spikes: SpikeCounts) -> _Figure | None:
    """Return what to count of a use, if it fires or has weights."""
    name, inputs = node.operation.name, node.inputs
    if isinstance(node.operation, IntegrateAndFire):
        layer = LayerCost(name, math.prod(inputs[0].shape[2:]))
        return _Figure(layer, "spikes", node.outputs[0], lambda ones: ones)
    if not graph.traits_of(inside(node)).kernel:
        return None
    count = _operations(inside(node))
    timed = isinstance(node.operation, OverTime)
    step = inputs[0].shape[2 if timed else 1 :]
    dense = float(ops.sum(count(ops.ones((1, *step)))))
    known = id(inputs[0]) in spikes.known
    return _Figure(
        LayerCost(name, dense_multiply_adds=dense),
        "synaptic_operations" if known else "multiply_adds",
        inputs[0],
        lambda ones: over_time(node, count, ones),
    )


def _operations(layer: keras.Layer) -> keras.Layer:
    """Return a layer that counts the weights that values meet."""
    copy = graph.clone_layer(layer, dtype="float32")
    copy.build_from_config(layer.get_build_config())
    copy.activation = keras.activations.linear
    if getattr(copy, "bias", None) is not None:
        copy.bias.assign(np.zeros(copy.bias.shape))
    kernel = graph.values_of(graph.kernel_of(layer))
    graph.kernel_of(copy).assign((kernel != 0).astype("float32"))
    return copy
