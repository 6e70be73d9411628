"""Take pruned channels out of a network."""

import itertools
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp.sparsity.channels.following import trace
from kbp.sparsity.channels.tracing import IndexMap, Trace, compact
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
            message names it), the model is quantization-aware, or its graph is
            not known.

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
    """Return for each channel group whether it stays, `(groups,)`."""
    stays = ~traced.removable()
    roots = traced.groups.roots(np.arange(len(stays)))
    given = [
        roots[groups]
        for mapping in traced.index_maps.values()
        for groups in mapping.sizes.values()
        if groups.ndim == 1
    ]
    parts = [
        np.unique(roots[compact(x.groups)[0]]) for x in traced.tensors.values()
    ]
    before = -1
    while before != (before := stays.sum()):
        for part in parts:
            if not stays[part].any():
                stays[roots == part[0]] = True
        for groups in given:
            for group in groups[~stays[groups]]:
                count = int(stays[groups].sum())
                if count and count % multiple_of == 0:
                    break
                stays[roots == group] = True
    return stays


class _Cutter:
    """Rebuilds a model with the channel groups that stay."""

    def __init__(self, traced: Trace, stays: np.ndarray) -> None:
        self.traced, self.stays = traced, stays
        self.pairs: list[
            tuple[keras.layers.Layer, keras.layers.Layer, IndexMap]
        ] = []

    def rebuild(self, model: keras.Model) -> keras.Model:
        numbers = itertools.count()

        def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            own = self.traced.calls.get(next(numbers))
            if own is None:
                return layer(*args, **kwargs)
            return own(layer, self.stays, *args, **kwargs)

        small = graph.rewrite(model, layer=self.smaller, call=call)
        for old, new, mapping in self.pairs:
            self.carry(old, new, mapping)
        return small

    def smaller(self, layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.Layer):
            return layer
        inner = graph.unwrapped(layer)
        mapping = self.traced.index_maps.get(inner, IndexMap({}))
        sizes: dict[str, Any] = {
            name: int(self.stays[groups].sum())
            for name, groups in mapping.sizes.items()
        }
        sizes |= {
            name: argument(self.stays)
            for name, argument in mapping.arguments.items()
        }
        new = graph.clone_layer(layer, **sizes)
        self.pairs.append((inner, graph.unwrapped(new), mapping))
        return new

    def carry(
        self,
        old: keras.layers.Layer,
        new: keras.layers.Layer,
        mapping: IndexMap,
    ) -> None:
        """Copy the weights that stay."""
        for source, target in zip(old.variables, new.variables, strict=True):
            values = graph.values_of(source)
            if cut := mapping.cuts.get(id(source)):
                values = cut(values, self.stays)
            else:
                for axis, groups in mapping.weights.get(id(source), {}).items():
                    values = np.compress(self.stays[groups], values, axis)
            target.assign(values)
        new.trainable = old.trainable
