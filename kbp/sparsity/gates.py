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
from kbp.sparsity.beginnings import begin_with, layers_before
from kbp.sparsity.channels.following import trace
from kbp.sparsity.channels.places import (
    Gate,
    gates_of,
    gives_channels,
    own_activation,
    source_of,
)


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
    found, _ = gates_of(traced, set(dense))
    if not found:
        return None
    gates: dict[graph.Node, list[tuple[TransformedLayer, int]]] = {}
    activations: dict[keras.Operation, keras.layers.Layer] = {}
    made = []
    for wanted in found:
        gate = _gate(wanted, make, names)
        made.append(gate)
        for place in wanted.places:
            operation = place.node.operation
            number = wanted.arrangements.index(place.numbers)
            gates.setdefault(place.node, []).append((gate, number))
            if operation not in activations:
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
        for gate, number in gates.get(node, ()):
            options = {"arrangement": number} if number else {}
            outputs = gate(outputs, **options)
        if node.operation in activations:
            outputs = activations[node.operation](outputs)
        return outputs

    gated = graph.replace_layers(model, replacement, call=call)
    before = layers_before(gated)
    for wanted, gate in zip(found, made, strict=True):
        sizes = _sizes(wanted)
        if sizes.any():
            begin_with(gated, gate, before[gate.name], sizes)
    return gated


def _gate(
    wanted: Gate,
    make: Callable[[ChannelScale, list[graph.Node]], TransformedLayer],
    names: set[str],
) -> TransformedLayer:
    """Return a gate, with a mask."""
    sources = [place.source for place in wanted.places]
    first = sources[0].operation
    arrangements = wanted.arrangements
    if arrangements == [(*range(len(wanted.groups)),)]:
        arrangements = []  # each channel has its own
    scale = ChannelScale(
        arrangements=arrangements,
        name=_free(f"{first.name}_gate", names),
        dtype=first.dtype_policy,
    )
    gate = make(scale, sources)
    gate.trainable = any(source.operation.trainable for source in sources)
    return gate


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
        # A subclass without the traits may not have the argument.
        if graph.traits_of(layer).channels != "batch_norm" or layer.scale:
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


def _sizes(wanted: Gate) -> np.ndarray:
    """Return how large each group's channels are at all places together.

    Those that a trained network hardly uses are then the first to go.
    """
    places = {place.node.operation.name: place for place in wanted.places}
    count = len(wanted.groups)
    sizes = np.zeros(count)
    for place in places.values():
        numbers = np.array(place.numbers)
        mine = numbers >= 0
        counts = np.bincount(numbers[mine], minlength=count)
        magnitudes = _magnitudes(place.node)[mine]
        sizes += np.bincount(numbers[mine], magnitudes, count) / counts
    return sizes


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
