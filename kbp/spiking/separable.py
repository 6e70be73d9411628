"""Separable convolutions as the two layers that they are."""

from typing import Any

import keras
from keras import layers

from kbp import graph
from kbp.spiking.over_time import OverTime

_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def without_separable(model: keras.Model) -> keras.Model:
    """Return a model whose separable convolutions are two layers each.

    What lies between the two are values, whatever went in.

    Args:
        model: a flat functional model; other layers are shared.
    """
    if not any(isinstance(_inside(x), _SEPARABLE) for x in model.operations):
        return model
    unique = graph.UniqueNames(x.name for x in model.operations)
    made: dict[keras.Operation, list[keras.Layer]] = {}

    def parts(layer: keras.Layer) -> list[keras.Layer]:
        inside = _inside(layer)

        def part(kind: type, suffix: str | None, **options: Any) -> keras.Layer:
            name = layer.name
            if suffix is not None:
                name = unique(f"{name}_{suffix}")
            return kind(name=name, dtype=inside.dtype_policy, **options)

        found = graph.split_separable(inside, part)
        if inside is layer:
            return [*found]
        return [OverTime(x, name=x.name) for x in found]

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(_inside(layer), _SEPARABLE):
            return layer(*args, **kwargs)
        if layer not in made:
            made[layer] = parts(layer)
        depthwise, pointwise = made[layer]
        return pointwise(depthwise(args[0]))

    return graph.rewrite(model, call=call)


def _inside(layer: keras.Operation) -> keras.Operation:
    """Return what is called, at each time step or once."""
    return layer.layer if isinstance(layer, OverTime) else layer
