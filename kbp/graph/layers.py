"""Copies of layers and of their weights."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kbp.graph.rewriting import rewrite
from kbp.layers import KernelTransform, TransformedLayer


def clone_layer(layer: keras.Operation, **changes: Any) -> keras.Operation:
    """Return a new layer of the same configuration, without the weights.

    Changes of a `TransformedLayer` are those of the layer inside.
    """
    if not isinstance(layer, keras.layers.Layer):
        return layer  # an operation has no state
    if isinstance(layer, keras.layers.Lambda) or hasattr(layer, "adapt"):
        # Keras makes no Lambda from its function, and what a preprocessing
        # layer has adapted to is not in its weights. Neither is trained.
        return layer
    if type(layer) is TransformedLayer and changes:
        return TransformedLayer(
            clone_layer(layer.layer, **changes),
            [clone_layer(transform) for transform in layer.transforms],
            kernel=layer.kernel_attribute,
            name=layer.name,
        )
    return type(layer).from_config({**layer.get_config(), **changes})


def replace_layers(
    model: keras.Model,
    replace: Callable[[keras.Operation], keras.Operation],
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Rebuild a flat model with `replace(layer) -> new` and copy the weights.

    A layer and its replacement may differ by a `TransformedLayer` on either
    side: the weights of the layer inside are copied, and those of the
    transforms that both sides begin with.
    """
    pairs = []

    def replacement(old: keras.Operation) -> keras.Operation:
        new = replace(old)
        if isinstance(new, keras.layers.Layer):
            pairs.append((old, new))
        return new

    new_model = rewrite(model, layer=replacement, call=call)
    for old, new in pairs:
        copy_weights(old, new)
    return new_model


def copy_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy the variables of a layer to its replacement, both built."""
    sources, targets = unwrapped(old).variables, unwrapped(new).variables
    unwrapped(new).trainable = unwrapped(old).trainable
    for source, target in zip(sources, targets, strict=True):
        copy_variable(source, target)  # also states of seeds
    for source, target in zip(transforms(old), transforms(new), strict=False):
        if type(source) is not type(target):
            break
        target.set_weights(source.get_weights())


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Copy a variable: its values, and whether it is trained.

    Not the array itself: JAX frees it when one of the two models trains.
    """
    target.assign(values_of(source))
    target.trainable = source.trainable


def values_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's values."""
    return keras.ops.convert_to_numpy(variable)


def unwrapped(layer: keras.Operation) -> keras.Operation:
    """Return the layer inside a `TransformedLayer`, or the layer itself."""
    return layer.innermost if isinstance(layer, TransformedLayer) else layer


def transforms(layer: keras.Operation) -> list[KernelTransform]:
    """Return the transforms of a layer's kernels, none if it is plain."""
    found: list[KernelTransform] = []
    while isinstance(layer, TransformedLayer):
        found = [*layer.transforms, *found]
        layer = layer.layer
    return found


def in_float32(model: keras.Model) -> keras.Model:
    """Return a flat model that computes in float32, with the same weights."""
    new_model = replace_layers(model, clone_layer)
    for layer in set(new_model.layers) - set(model.layers):
        for part in {layer, unwrapped(layer)}:
            part.dtype_policy = "float32"
    return new_model
