"""How many spikes the values of a network are sums of."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import layers, ops

from kbp import graph
from kbp._utils.types import Tensor
from kbp.layers import NearestUpSampling2D
from kbp.spiking.encoders import (
    DeltaModulation,
    DirectCurrent,
    Latency,
    PoissonRate,
)
from kbp.spiking.neurons import IntegrateAndFire
from kbp.spiking.over_time import OverTime

_SPIKES = (IntegrateAndFire, PoissonRate, Latency, DeltaModulation)
_MOVING = (
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    *(layers.UpSampling1D, layers.UpSampling3D, NearestUpSampling2D),
    *(layers.Concatenate, layers.Identity, DirectCurrent),
)
_MOVING_OPERATIONS = (
    *("Concatenate", "ExpandDims", "GetItem", "Reshape", "Squeeze"),
    "Transpose",
)
_LARGEST = (
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D),
    *(layers.GlobalMaxPooling3D, layers.Maximum),
)
_SUMS = (layers.Add, layers.Subtract, layers.Average)
_MEANS = (
    *(layers.AveragePooling1D, layers.AveragePooling2D),
    *(layers.AveragePooling3D, layers.GlobalAveragePooling1D),
    *(layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
)
_Function = Callable[[Any], Tensor]


def inside(node: graph.Node) -> keras.Operation:
    """Return what a use calls, at each time step or once."""
    layer = node.operation
    return layer.layer if isinstance(layer, OverTime) else layer


class SpikeCounts:
    """Counts the spikes that the values of a network are made of.

    Spikes begin in neurons and codes. What moves values moves spikes, and sums
    and means of spikes are made of all of theirs; everything else gives values.

    Args:
        nodes: the uses of layers in a network, in order.
        spikes: symbolic tensors that are spikes besides, such as inputs.

    Attributes:
        known: ids of the tensors that are made of spikes alone.
        sources: those where spikes begin.
    """

    def __init__(
        self, nodes: list[graph.Node], spikes: Iterable[keras.KerasTensor] = ()
    ) -> None:
        self.sources = [*spikes]
        self.known = {id(x) for x in self.sources}
        self.several: set[int] = set()  # sources of more than one in a step
        single = {*self.known}  # those that hold one spike at most
        self.steps: list[tuple[graph.Node, _Function]] = []
        for node in nodes:
            given = {id(x) for x in node.outputs}
            if isinstance(node.operation, _SPIKES):
                self.sources += node.outputs
                self.known |= given
                one = not isinstance(node.operation, DeltaModulation)
                (single if one else self.several).update(given)
                continue
            read = {id(x) for x in node.inputs}
            if not read or not read <= self.known:
                continue
            function = _moved(node, read <= single)
            if function and read <= single:
                single |= given
            function = function or _summed(node)
            if function:
                self.known |= given
                self.steps.append((node, function))

    def of(self, values: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return how many spikes each known tensor is made of, by its id.

        Args:
            values: of the sources, by their ids.
        """
        counts = {id(x): ones_of(values[id(x)]) for x in self.sources}
        for place in self.several:
            counts[place] = ops.abs(ops.cast(values[place], "float32"))
        for node, function in self.steps:
            several = isinstance(node.arguments[0], list | tuple)
            several |= len(node.inputs) > 1  # of an operation's operands
            given = [counts[id(x)] for x in node.inputs]
            counts[id(node.outputs[0])] = over_time(
                node, function, given if several else given[0]
            )
        return counts


def ones_of(x: Tensor) -> Tensor:
    """Return 1 where values are not 0."""
    return ops.cast(ops.not_equal(x, 0), "float32")


def over_time(node: graph.Node, function: _Function, inputs: Any) -> Tensor:
    """Call a function for a layer, at each time step if the layer is.

    Args:
        node: the layer's use.
        function: `function(inputs) -> outputs`, of `inside(node)`.
        inputs: a tensor, or a list of them.
    """
    if not isinstance(node.operation, OverTime):
        return function(inputs)
    tensors = keras.tree.flatten(inputs)
    steps = [ops.reshape(x, (-1, *x.shape[2:])) for x in tensors]
    outputs = function(keras.tree.pack_sequence_as(inputs, steps))
    return ops.reshape(outputs, (-1, tensors[0].shape[1], *outputs.shape[1:]))


def _moved(node: graph.Node, single: bool) -> _Function | None:
    """Return what a use does with spikes that it moves, if it does that."""
    layer = inside(node)
    if graph.traits_of(layer).training_only:
        return lambda x: x
    nearest = (
        isinstance(layer, layers.UpSampling2D)
        and layer.interpolation == "nearest"
    )
    if isinstance(layer, _MOVING) or nearest:
        return layer
    if isinstance(layer, _LARGEST) and single:
        return layer
    if type(layer).__name__ in _MOVING_OPERATIONS:
        return lambda x: layer(x, *node.arguments[1:], **node.keywords)
    return None


def _summed(node: graph.Node) -> _Function | None:
    """Return the sums that a use makes of spikes, if it does that."""
    layer = inside(node)
    plus = type(layer).__name__ in ("Add", "Subtract")
    if isinstance(layer, _SUMS) or (plus and len(node.inputs) == 2):
        return lambda x: sum(x[1:], x[0])
    if isinstance(layer, _MEANS):
        return lambda x: _pooled(layer, x)
    return None


def _pooled(layer: keras.Layer, x: Tensor) -> Tensor:
    """Return sums of the values whose means an average pooling takes."""
    last = layer.data_format == "channels_last"
    rank = len(x.shape)
    if not hasattr(layer, "pool_size"):
        axes = range(1, rank - 1) if last else range(2, rank)
        return ops.sum(x, axis=tuple(axes), keepdims=layer.keepdims)
    if last:
        x = ops.moveaxis(x, -1, 1)  # (batch, channels, *places)
    channels = x.shape[1]
    x = ops.reshape(x, (-1, *x.shape[2:], 1))
    window = ops.ones((*layer.pool_size, 1, 1), x.dtype)
    x = ops.conv(x, window, layer.strides, layer.padding, "channels_last")
    x = ops.reshape(x, (-1, channels, *x.shape[1:-1]))
    return ops.moveaxis(x, 1, -1) if last else x
