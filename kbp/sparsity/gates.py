"""One mask for all channels that can only go together.

A mask on a convolution's kernel would be normalized away by the
BatchNormalization behind it, and channels that are added together would be
decided apart. So a `ChannelScale` with a `DTM`, a gate, stands where a group's
channels get their last factor and offset, the same one at each such place.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.layers import ChannelScale, TransformedLayer
from kbp.sparsity.channels.places import (
    Place,
    gives_channels,
    own_activation,
    places_of,
    source_of,
)
from kbp.sparsity.channels.rules import trace


def add_gates(
    model: keras.Model,
    dense: Iterable[str],
    make: Callable[[ChannelScale, list[graph.Node]], TransformedLayer],
) -> keras.Model | None:
    """Put gates into a flat model.

    Args:
        model: a flat functional model.
        dense: names of layers whose channels all stay.
        make: `make(scale, sources) -> layer`, puts a mask on a `ChannelScale`
            whose channels these uses of layers give.

    Returns:
        A new model with the same outputs, or `None` where nothing can be
        pruned.

    Raises:
        ValueError: the model has gates already.
    """
    for layer in model.layers:
        if isinstance(graph.unwrapped(layer), ChannelScale):
            raise ValueError(
                f"Model {model.name} has channels that are scaled already, by "
                f"layer {layer.name}. Use kbp.sparsity.strip or shrink first."
            )
    model = _with_scales(model)
    names = {operation.name for operation in model.operations}
    traced = trace(model)
    groups = places_of(traced, set(dense))
    if not groups:
        return None
    gates, activations = {}, {}
    for places in groups.values():
        first = places[0].source.operation
        scale = ChannelScale(
            repeats=places[0].repeats,
            name=_free(f"{first.name}_gate", names),
            dtype=first.dtype_policy,
        )
        gate = make(scale, [place.source for place in places])
        gate.trainable = any(p.source.operation.trainable for p in places)
        for place in places:
            operation = place.node.operation
            gates[place.node] = gate
            behind = _behind(operation, names)
            if behind is not None:
                activations[operation] = behind
    nodes = iter(traced.nodes)

    def replacement(layer: keras.Operation) -> keras.Operation:
        old = graph.unwrapped(layer)
        if old in activations:
            changes: dict[str, Any] = {}
            if own_activation(old) is not None:
                changes["activation"] = "linear"
            if old.activity_regularizer is not None:
                changes["activity_regularizer"] = None
            return graph.clone_layer(layer, **changes)
        return graph.clone_layer(layer)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        node = next(nodes)
        outputs = layer(*args, **kwargs)
        if node in gates:
            outputs = gates[node](outputs)
        if node.operation in activations:
            outputs = activations[node.operation](outputs)
        return outputs

    gated = graph.replace_layers(model, replacement, call=call)
    for places in groups.values():
        _begin_with_magnitudes(gated, places, gates[places[0].node])
    return gated


def _behind(
    operation: keras.layers.Layer, names: set[str]
) -> keras.layers.Layer | None:
    """Return what a layer does to its result, which goes behind the gate."""
    if graph.adds_loss(operation):
        raise ValueError(
            f"Layer {operation.name} ({type(operation).__name__}) adds to the "
            "loss in its `call`, of channels that a gate changes. Name it in "
            "`skip`, or add to the loss in a layer of its own."
        )
    activation = own_activation(operation)
    if activation is None and operation.activity_regularizer is None:
        return None
    return layers.Activation(
        activation or "linear",
        name=_free(f"{operation.name}_activation", names),
        dtype=operation.dtype_policy,
        activity_regularizer=operation.activity_regularizer,
    )


def _with_scales(model: keras.Model) -> keras.Model:
    """Give each BatchNormalization a factor, for gates to be folded into."""
    pairs = []

    def replacement(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, layers.BatchNormalization) or layer.scale:
            return layer
        new = graph.clone_layer(layer, scale=True)
        pairs.append((layer, new))
        return new

    scaled = graph.rewrite(model, layer=replacement)
    for old, new in pairs:
        for name in ("beta", "moving_mean", "moving_variance"):
            if getattr(old, name, None) is not None:
                getattr(new, name).assign(graph.values_of(getattr(old, name)))
        new.trainable = old.trainable
    return scaled


def _free(name: str, names: set[str]) -> str:
    """Return a name that no layer has, and take it."""
    while name in names:
        name += "_"
    names.add(name)
    return name


def _begin_with_magnitudes(
    model: keras.Model, places: list[Place], gate: TransformedLayer
) -> None:
    """Let the gate's factors be how large the channels are.

    What they are more than that is left in the layers, so that the outputs
    stay; channels that a trained network hardly uses are then the first to go.
    """
    first = {place.node.operation.name: place.node for place in places}
    found = [graph.unwrapped(model.get_layer(name)) for name in first]
    if any(graph.transforms(model.get_layer(name)) for name in first):
        return  # a mask looks at how large the weights are
    sizes = np.sum([_magnitudes(node) for node in first.values()], axis=0)
    sizes = sizes.reshape(gate.kernel.shape[0], -1).mean(axis=1)
    if not sizes.any():
        return
    # Not so small that what is left in the layers gets large.
    factors = np.maximum(sizes / sizes.mean(), 0.1)
    gate.kernel.assign(factors)
    for layer in found:
        graph.scale_outputs(layer, 1 / np.repeat(factors, places[0].repeats))


def _magnitudes(node: graph.Node) -> np.ndarray:
    """Return the size of each channel that a layer gives, of mean 1.

    That of a BatchNormalization's factor also counts the kernel before it:
    alone, the factors of a network that is not trained yet are all the same.
    """
    # No array: one of float64 would make the float32 products float64.
    layer = source_of(node).operation
    sizes: Any = 1.0
    if isinstance(node.operation, layers.BatchNormalization):
        sizes = np.abs(graph.values_of(node.operation.gamma))
    if gives_channels(layer):
        values = graph.values_of(graph.kernel_of(layer))
        kernel = np.moveaxis(values, graph.traits_of(layer).output_axis, -1)
        squares = np.square(kernel).reshape(-1, kernel.shape[-1])
        sizes = sizes * np.sqrt(squares.sum(axis=0))
    return sizes / max(sizes.mean(), 1e-12)
