"""Layers between a network and the data's own units, which stay in float."""

from typing import Any

import keras
import numpy as np
from keras import layers

from kbp.layers import InverseStandardization, Standardization
from kbp.quantization.lowering import primitives
from kbp.quantization.lowering.primitives import Part, Replacement

Tensor = Any  # of any backend, or symbolic


def in_units(layer: keras.layers.Layer, part: Part) -> Replacement:
    """Make a Normalization one that takes the data's own units, in float."""
    mean, deviation = primitives.statistics(layer)
    new = part(Standardization, None)

    def apply(inputs: Tensor) -> Tensor:
        if not new.built:
            new.build(inputs.shape)
            shape = new.mean.shape
            new.set_weights(
                [np.broadcast_to(x, shape) for x in (mean, deviation)]
            )
        return new(inputs)

    return apply


def is_of_units(layer: keras.layers.Layer) -> bool:
    """Say whether one range in eight bits cannot hold a Normalization's input.

    It has to hold zero and four deviations around each mean. Where a step of
    it is more than an eighth of some column's deviation, rounding alone would
    move that column by more than a sixteenth of a deviation.
    """
    if layer.invert:
        return False
    mean, deviation = primitives.statistics(layer)
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
