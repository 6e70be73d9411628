"""One mask for all channels that can only go together.

A mask on a convolution's kernel would be normalized away by the
BatchNormalization behind it, and channels that are added together would be
decided apart. So a `ChannelScale` with a `DTM`, a gate, stands where a group's
channels get their last factor and offset, the same one at each such place.
"""

import collections
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.layers import ChannelScale
from kbp.sparsity.channels import rules as rules
from kbp.sparsity.channels import value_rules as values
from kbp.sparsity.channels import weight_rules as weights
from kbp.sparsity.channels.tracing import Trace, size_of


@dataclass(frozen=True)
class Place:
    """Where a gate stands: behind a use of a layer.

    Attributes:
        call: the use.
        source: the use whose channels they are, see `source_of`.
        labels: of the channels, each once.
        repeats: neighbouring channels of one label.
    """

    call: graph.Node
    source: graph.Node
    labels: tuple[int, ...]
    repeats: int


def add_gates(
    model: keras.Model, dense: Iterable[str], make: Callable
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
    traced = rules.trace(model)
    groups = _groups(traced, set(dense))
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
            operation = place.call.operation
            gates[place.call] = gate
            if _activation(operation) is not None:  # it goes behind the gate
                activations[operation] = layers.Activation(
                    _activation(operation),
                    name=_free(f"{operation.name}_activation", names),
                    dtype=operation.dtype_policy,
                )
    calls = iter(traced.calls)

    def replacement(layer):
        if graph.unwrapped(layer) in activations:
            return graph.clone_layer(layer, activation="linear")
        return graph.clone_layer(layer)

    def call(layer, *args, **kwargs):
        use = next(calls)
        outputs = layer(*args, **kwargs)
        if use in gates:
            outputs = gates[use](outputs)
        if use.operation in activations:
            outputs = activations[use.operation](outputs)
        return outputs

    gated = graph.replace_layers(model, replacement, call=call)
    for places in groups.values():
        _begin_with_magnitudes(gated, places, gates[places[0].call])
    return gated


def fold_gate(layer: keras.Layer, factors: np.ndarray) -> None:
    """Multiply what a layer gives, before its activation, by factors."""
    if isinstance(layer, layers.BatchNormalization):
        parts = [(layer.gamma, -1)]
        parts += [(layer.beta, -1)] if layer.center else []
    else:
        parts = [_kernel(layer)]
        if layer.bias is not None:
            parts.append((layer.bias, -1))
    for variable, axis in parts:
        scaled = np.moveaxis(graph.values_of(variable), axis, -1) * factors
        variable.assign(np.moveaxis(scaled, -1, axis))


def source_of(call: graph.Node) -> graph.Node:
    """Return the use that gives the channels behind a gate.

    That of the kernel layer before a BatchNormalization, or the call itself.
    """
    if isinstance(call.operation, layers.BatchNormalization):
        for before in call.producers:
            if _kernel(before.operation) is not None:
                return before
    return call


def is_foldable(call: graph.Node) -> bool:
    """Say whether a gate behind a use of a layer can be folded into it."""
    operation = call.operation
    if isinstance(operation, layers.BatchNormalization):
        return operation.scale
    return _kernel(operation) is not None and _activation(operation) is None


def _with_scales(model: keras.Model) -> keras.Model:
    """Give each BatchNormalization a factor, for gates to be folded into."""
    pairs = []

    def replacement(layer):
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


def _groups(traced: Trace, dense: set[str]) -> dict[tuple, list[Place]]:
    """Return the places for gates by their labels."""
    walk = _Walk(traced)
    places = [_place(traced, call) for call in walk.places]
    uses = collections.Counter(c.operation for c in traced.calls)
    gated = collections.Counter(c.operation for c in walk.places)
    never = {int(traced.labels.roots(np.array([0]))[0])}
    for labels in (*walk.blocked, *(u[1] for u in traced.unknown)):
        never.update(traced.labels.roots(labels).tolist())
    for call, place in zip(walk.places, places, strict=True):
        if place is None or uses[call.operation] != gated[call.operation]:
            vector = traced.vector(traced.of(call.outputs[0]))
            never.update(() if vector is None else vector[0].tolist())
        elif {place.source.operation.name, call.operation.name} & dense:
            never.update(place.labels)
    # A layer that adds into a group belongs to it without a place of its own.
    for call in traced.calls:
        if call.operation.name in dense and call.operation in traced.cuts:
            for labels in traced.cuts[call.operation].sizes.values():
                never.update(traced.labels.roots(labels).ravel().tolist())
    groups: dict[tuple, list[Place]] = {}
    for place in filter(None, places):
        groups.setdefault(place.labels, []).append(place)
    shared = collections.Counter(x for labels in groups for x in labels)
    return {
        labels: places
        for labels, places in groups.items()
        if len(labels) > 1
        and not never & {*labels}
        and all(shared[x] == 1 for x in labels)
    }


class _Walk:
    """Finds where channels must become zero for their readers to lose them.

    Attributes:
        places: the uses of layers behind which a gate can make them zero.
        blocked: labels that cannot become zero on the way to a reader.
    """

    def __init__(self, traced: Trace):
        self.traced = traced
        self.producer = {id(x): c for c in traced.calls for x in c.outputs}
        self.seen, self.places, self.blocked = set(), [], []
        for call in traced.calls:
            if rules.rule_of(call) in (weights.kernel_layer, weights.separable):
                self.demand(call.inputs[0])

    def demand(self, tensor):
        todo = [tensor]
        while todo:
            call = self.producer.get(id(todo.pop()))
            if call is None or call in self.seen:
                continue
            self.seen.add(call)
            rule = rules.rule_of(call)
            if _is_place(call):
                self.places.append(call)
            elif rule in (values.elementwise, values.activation):
                if self.loses_zero(call):
                    self.block(call)
                todo.extend(call.inputs)
            elif rule is values.product:
                largest = max(call.inputs, key=size_of)
                todo.append(largest)
            elif rule is values.matmul:
                todo.append(call.inputs[1])  # the values that are attended to
            elif rule in rules.ZERO_KEEPING:
                todo.extend(call.inputs)
            else:
                self.block(call)

    def loses_zero(self, call):
        function = getattr(call.operation, "activation", call.operation)
        return isinstance(function, layers.Softmax) or not (
            values.keeps_zero(function, len(call.outputs[0].shape))
        )

    def block(self, call):
        for x in call.outputs:
            self.blocked.append(np.unique(self.traced.of(x).labels))


def _is_place(call):
    operation = call.operation
    if isinstance(operation, layers.BatchNormalization):
        return True
    if (
        rules.rule_of(call) is weights.depthwise
        and operation.depth_multiplier > 1
    ):
        return False
    return _kernel(operation) is not None


def _place(traced, call):
    """Return the place behind a call, `None` if no gate fits there."""
    vector = traced.vector(traced.of(call.outputs[0]))
    if vector is None:
        return None
    activation = _activation(call.operation)
    if activation is not None and not (
        values.is_elementwise(activation) and values.keeps_zero(activation)
    ):
        return None
    labels = vector[0]
    unique = list(dict.fromkeys(labels.tolist()))
    repeats = len(labels) // len(unique)
    if labels.tolist() != np.repeat(unique, repeats).tolist():
        return None
    return Place(call, source_of(call), tuple(unique), repeats)


def _begin_with_magnitudes(model, places, gate):
    """Let the gate's factors be how large the channels are.

    What they are more than that is left in the layers, so that the outputs
    stay; channels that a trained network hardly uses are then the first to go.
    """
    first = {place.call.operation.name: place.call for place in places}
    found = [graph.unwrapped(model.get_layer(name)) for name in first]
    if any(graph.transforms(model.get_layer(name)) for name in first):
        return  # a mask looks at how large the weights are
    sizes = sum(map(_magnitudes, first.values()))
    sizes = sizes.reshape(gate.kernel.shape[0], -1).mean(axis=1)
    if not sizes.any():
        return
    # Not so small that what is left in the layers gets large.
    factors = np.maximum(sizes / sizes.mean(), 0.1)
    gate.kernel.assign(factors)
    for layer in found:
        fold_gate(layer, 1 / np.repeat(factors, places[0].repeats))


def _magnitudes(call):
    """Return the size of each channel that a layer gives, of mean 1.

    That of a BatchNormalization's factor also counts the kernel before it:
    alone, the factors of a network that is not trained yet are all the same.
    """
    layer, sizes = source_of(call).operation, 1.0
    if isinstance(call.operation, layers.BatchNormalization):
        sizes = np.abs(graph.values_of(call.operation.gamma))
    if _kernel(layer) is not None:
        variable, axis = _kernel(layer)
        kernel = np.moveaxis(graph.values_of(variable), axis, -1)
        squares = np.square(kernel).reshape(-1, kernel.shape[-1])
        sizes = sizes * np.sqrt(squares.sum(axis=0))
    return sizes / max(sizes.mean(), 1e-12)


def _kernel(layer):
    """Return the variable and the axis of the channels a layer gives."""
    if isinstance(layer, weights.DEPTHWISE):
        return (layer.kernel, -2) if layer.depth_multiplier == 1 else None
    if isinstance(layer, weights.SEPARABLE):
        return layer.pointwise_kernel, -1
    axes = weights.kernel_axes(layer)
    return None if axes is None else (getattr(layer, axes[0]), axes[2])


def _activation(layer):
    """Return a kernel layer's own activation, `None` for a linear one."""
    function = getattr(layer, "activation", keras.activations.linear)
    return None if function is keras.activations.linear else function
