"""Take pruned channels out of a network."""

import itertools

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp.sparsity.channels.rules import trace
from kbp.sparsity.channels.tracing import Cut, Trace
from kbp.sparsity.strip import strip


def shrink(model: keras.Model, *, multiple_of: int = 1) -> keras.Model:
    """Return a smaller model without the channels that do nothing.

    A channel goes where all that reads it gets a zero, whatever the model's
    input, or ignores it. That is found from the weights alone: masks are folded
    first, so it does not matter how the zeros came about. Channels that are
    added or multiplied go together or not at all, attention heads go whole, and
    one channel of each layer always stays.

    Args:
        model: a functional or built Sequential model, with masks or with
            zeros; left as it is.
        multiple_of: keep so many channels more that their number is a
            multiple, where there are as many; 8 or 16 run fastest on most
            processors.

    Returns:
        A new, uncompiled model of plain Keras layers with the same outputs at
        inference.

    Raises:
        ValueError: a layer that no rule covers reads pruned channels (the
            message names it), a kernel is quantized already, or the model's
            graph is not known.

    Example:
    >>> import keras, numpy as np, kbp
    >>> layers = [keras.Input((4,)), *map(keras.layers.Dense, (8, 2))]
    >>> model = keras.Sequential(layers)
    >>> kernel = np.ones((4, 8)) * (np.arange(8) < 3)  # as if pruned
    >>> model.layers[0].set_weights([kernel, np.zeros(8)])
    >>> kbp.sparsity.shrink(model).layers[1].units
    3

    Reference:
        Groups of channels that depend on each other: Fang et al., DepGraph:
        Towards Any Structural Pruning, 2023.
    """
    check_integer(multiple_of=multiple_of)
    plain = strip(model)
    for layer in plain.layers:
        for transform in graph.transforms(layer):
            if transform.variables:
                raise ValueError(
                    f"Layer {layer.name} cannot be shrunk: its "
                    f"{type(transform).__name__} is made for its size. Shrink "
                    "the model first."
                )
    traced = trace(plain)
    return _Cutter(traced, _kept(traced, multiple_of)).rebuild(plain)


def _kept(traced: Trace, multiple_of: int) -> np.ndarray:
    """Return for each label whether it stays, `(labels,)`."""
    stays = ~traced.removable()
    roots = traced.labels.roots(np.arange(len(stays)))
    given = [
        roots[labels]
        for cut in traced.cuts.values()
        for labels in cut.sizes.values()
        if labels.ndim == 1
    ]
    before = -1
    while before != (before := stays.sum()):
        for labels in given:
            for label in labels[~stays[labels]]:
                count = int(stays[labels].sum())
                if count and count % multiple_of == 0:
                    break
                stays[roots == label] = True
    return stays


class _Cutter:
    """Rebuilds a model with the labels that stay."""

    def __init__(self, traced: Trace, stays: np.ndarray):
        self.traced, self.stays = traced, stays
        self.pairs: list[tuple] = []

    def rebuild(self, model):
        numbers = itertools.count()

        def call(layer, *args, **kwargs):
            labels = self.traced.reshapes.get(next(numbers))
            if labels is not None and not isinstance(layer, keras.Layer):
                shape = self.shape(layer.newshape[1:], labels)
                layer = type(layer)(
                    (layer.newshape[0], *shape), name=layer.name
                )
            return layer(*args, **kwargs)

        small = graph.rewrite(model, layer=self.smaller, call=call)
        for old, new, cut in self.pairs:
            self.carry(old, new, cut)
        return small

    def smaller(self, layer):
        if not isinstance(layer, keras.Layer):
            return layer
        inner = graph.unwrapped(layer)
        cut = self.traced.cuts.get(inner, Cut({}))
        sizes = {
            name: self.size(inner, name, labels)
            for name, labels in cut.sizes.items()
        }
        new = graph.clone_layer(layer, **sizes)
        self.pairs.append((inner, graph.unwrapped(new), cut))
        return new

    def size(self, layer, name, labels):
        if name == "target_shape":
            return self.shape(layer.target_shape, labels)
        count = int(self.stays[labels].sum())
        if name == "output_shape":  # of EinsumDense
            return (*layer.partial_output_shape[:-1], count)
        return count

    def shape(self, sizes, labels):
        """Return a target shape, with less where labels go."""
        stays = self.stays[labels]
        shape = list(sizes)
        for axis, size in enumerate(stays.shape):
            others = tuple(a for a in range(stays.ndim) if a != axis)
            count = int(stays.any(axis=others).sum())
            if count < size:
                shape[axis] = count
        return tuple(shape)

    def carry(self, old, new, cut):
        """Copy the weights that stay."""
        axes = {
            id(getattr(old, name)): cut.weights[name] for name in cut.weights
        }
        for source, target in zip(old.variables, new.variables, strict=True):
            values = graph.values_of(source)
            for axis, labels in axes.get(id(source), {}).items():
                values = np.compress(self.stays[labels], values, axis)
            target.assign(values)
        new.trainable = old.trainable
