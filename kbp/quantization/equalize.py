"""Channels of alike ranges, so that one range serves them all.

What multiplies a channel before a ReLU can be divided out of the next kernel.
Training leaves such factors behind, above all around depthwise convolutions,
and a channel whose range is a hundredth of its neighbours' is left with two of
the 256 values.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.layers import FixedMask
from kbp.quantization.policy import QuantizationPolicy

Pair = tuple[keras.layers.Layer, keras.layers.Layer]


def equalized(
    model: keras.Model, policy: QuantizationPolicy, batches: Sequence[Any]
) -> keras.Model:
    """Return the same function with channels of alike ranges.

    Between two layers, each channel is divided by `s = sqrt(a / r)`, its
    greatest absolute value by the greatest weight that the second layer has for
    it, and that layer's weights are multiplied by it: both ranges become the
    square root of their product. Factors are relative to their geometric mean
    and rounded to powers of two, so no result changes, not in its last bit, and
    channels within a factor of two are left alone.

    Args:
        model: a flat model of `lower`, left as it is.
        policy: what the user has decided of layers, which stay as they are.
        batches: inputs of the model, to measure the channels with.

    Returns:
        A model with weights of its own, or the same one if nothing was to do.

    Reference:
        Nagel et al., Data-Free Quantization Through Weight Equalization and
        Bias Correction, 2019, with measured ranges in place of the first
        kernel's, which say nothing of a channel that its bias moves.
    """
    pairs = list(_pairs(model, policy))
    factors = _factors(model, pairs, batches)
    if all((factor == 1).all() for factor in factors):
        return model
    copies = {}

    def copy(layer: keras.Operation) -> keras.Operation:
        new = graph.clone_layer(layer)
        copies[graph.unwrapped(layer)] = graph.unwrapped(new)
        return new

    model = graph.replace_layers(model, copy)
    for (first, second), factor in zip(pairs, factors, strict=True):
        graph.scale_outputs(copies[first], 1 / factor)
        kernel = graph.kernel_of(copies[second])
        axis = graph.traits_of(second).input_axis
        shape = (-1, *[1] * (-1 - axis))
        graph.multiply(copies[second], kernel, factor.reshape(shape))
    return model


def _pairs(model: keras.Model, policy: QuantizationPolicy) -> Iterator[Pair]:
    """Yield two layers with nothing but homogeneous ones between them.

    The first has a kernel, or is the BatchNormalization behind one; the second
    has a kernel that reads the same channels.
    """
    nodes = graph.nodes(model)
    operations = [node.operation for node in nodes]
    free = {
        graph.unwrapped(layer)
        for layer in model.layers
        if all(type(t) is FixedMask for t in graph.transforms(layer))
    }

    def is_free(layer: keras.Operation) -> bool:
        return (
            layer in free
            and layer not in policy
            and operations.count(layer) == 1
            and layer.activity_regularizer is None
            and not graph.adds_loss(layer)
            and not any(
                getattr(layer, f"{weight}_constraint", None)
                for weight in ("kernel", "depthwise", "bias", "gamma", "beta")
            )
        )

    for node in nodes:
        if not graph.traits_of(node.operation).equalizable:
            continue
        following = node.successor
        if following and isinstance(
            following.operation, layers.BatchNormalization
        ):
            node, following = following, following.successor
            if not node.operation.scale:
                continue
        first = node.operation
        while (
            following
            and graph.traits_of(following.operation).homogeneous
            and following.operation not in policy
            and not getattr(following.operation, "activity_regularizer", None)
        ):
            node, following = following, following.successor
        if not following:
            continue
        second = following.operation
        if (
            graph.traits_of(second).equalizable
            and is_free(first)
            and is_free(second)
            and getattr(second, "groups", 1) == 1
        ):
            yield first, second


def _factors(
    model: keras.Model, pairs: list[Pair], batches: Sequence[Any]
) -> list[np.ndarray]:
    """Return of each pair what divides its channels, powers of two."""
    if not pairs or not batches:
        return []
    inside = _inputs_of([second for _, second in pairs], model)
    values = [
        [
            _largest(x)
            for x in keras.tree.flatten(inside(inputs, training=False))
        ]
        for inputs in batches
    ]
    return [
        _factor(np.max(found, axis=0), _largest_weights(second))
        for *found, (_, second) in zip(*values, pairs, strict=True)
    ]


def _largest_weights(layer: keras.layers.Layer) -> np.ndarray:
    """Return the greatest absolute weight of each channel that is read."""
    kernel = graph.values_of(graph.kernel_of(layer))
    return _largest(np.moveaxis(kernel, graph.traits_of(layer).input_axis, -1))


def _inputs_of(
    chosen: list[keras.layers.Layer], model: keras.Model
) -> keras.Model:
    """Return a model of what goes into some layers of a model."""
    found = {}

    def record(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if graph.unwrapped(layer) in chosen:
            (found[graph.unwrapped(layer)],) = graph.tensors_of((args, kwargs))
        return layer(*args, **kwargs)

    inputs = graph.rewrite(model, call=record).input
    return keras.Model(inputs, [found[layer] for layer in chosen])


def _largest(x: Any) -> np.ndarray:
    """Return the greatest absolute value of each index of the last axis."""
    x = np.abs(keras.ops.convert_to_numpy(x)).astype("float64")
    return x.max(axis=tuple(range(x.ndim - 1)))


def _factor(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    alive = (values > 0) & (weights > 0)
    exponents = np.zeros_like(values)
    if alive.any():
        found = np.log2(values[alive] / weights[alive]) / 2
        exponents[alive] = np.round(found - found.mean())
    return 2.0**exponents
