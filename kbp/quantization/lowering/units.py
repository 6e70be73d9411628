"""Layers between a network and the data's own units, which stay in float."""

from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp.layers import InverseStandardization, Standardization
from kbp.quantization.lowering import primitives
from kbp.quantization.lowering.primitives import Part, Replacement
from kbp.quantization.placement import rules

Tensor = Any  # of any backend, or symbolic


def in_units(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Make a normalization one that takes the data's own units, in float.

    What a BatchNormalization trains besides comes after it, in integers.
    """
    mean, deviation = _statistics(layer)
    trains = type(layer) is layers.BatchNormalization
    new = part(Standardization, None)

    def beside(kind: Any, suffix: str | None, *args: Any, **kw: Any) -> Any:
        return part(kind, suffix or "affine", *args, **kw)

    affine = primitives.affine(layer, beside, trainable=layer.trainable)

    def apply(inputs: Tensor) -> Tensor:
        if not new.built:
            new.build(inputs.shape)
            shape = new.mean.shape
            new.set_weights(
                [np.broadcast_to(x, shape) for x in (mean, deviation)]
            )
        outputs = new(inputs)
        if not trains or not (layer.scale or layer.center):
            return outputs
        factor, offset = (
            graph.values_of(weight) if weight is not None else default
            for weight, default in ((layer.gamma, 1.0), (layer.beta, 0.0))
        )
        return affine(outputs, factor, offset)

    return apply


def _statistics(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return what a normalization takes away and divides by."""
    if type(layer) is layers.Normalization:
        return primitives.statistics(layer)
    mean, variance = map(
        graph.values_of, (layer.moving_mean, layer.moving_variance)
    )
    return mean, np.sqrt(variance + layer.epsilon)


def reads_inputs(node: graph.Node) -> bool:
    """Say whether a use reads inputs of the model, perhaps moved or joined."""
    return all(
        (rules.copies(before.operation) or rules.joins(before.operation))
        and reads_inputs(before)
        for before in node.producers
    )


def is_of_units(node: graph.Node) -> bool:
    """Say whether one range in eight bits cannot hold what is normalized.

    Of BatchNormalization these are inputs of the model alone: what a network
    computed has the units that it was trained to have.

    It has to hold zero and four deviations around each mean. Where a step of
    it is more than an eighth of some column's deviation, rounding alone would
    move that column by more than a sixteenth of a deviation.
    """
    layer = node.operation
    if type(layer) is layers.BatchNormalization:
        if layer.axis not in (-1, len(node.inputs[0].shape) - 1):
            return False
        if not reads_inputs(node):
            return False
    elif type(layer) is not layers.Normalization or layer.invert:
        return False
    mean, deviation = _statistics(layer)
    low = np.minimum(mean - 4 * deviation, 0).min()
    high = np.maximum(mean + 4 * deviation, 0).max()
    return bool((high - low) / 255 > deviation.min() / 8)


def gives_units(layer: keras.Operation) -> bool:
    """Say whether a layer has a factor or an offset of its own by column."""
    if type(layer) is layers.Rescaling:
        return max(np.size(layer.scale), np.size(layer.offset)) > 1
    return type(layer) is layers.Normalization and layer.invert


def to_units(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Answer in the data's own units, in float.

    One range of 256 values cannot hold columns of very different units.
    """
    made = part(InverseStandardization, None)

    def apply(inputs: Tensor) -> Tensor:
        if not made.built:
            made.build(inputs.shape)
            deviation, mean = (
                np.broadcast_to(x, inputs.shape[-1:]) for x in _units(layer)
            )
            made.set_statistics(mean=mean, deviation=deviation)
        return made(inputs)

    return apply


def _units(layer: keras.layers.Layer) -> tuple[Any, Any]:
    if type(layer) is layers.Rescaling:
        return np.ravel(layer.scale), np.ravel(layer.offset)
    mean, deviation = primitives.statistics(layer)
    return deviation, mean
