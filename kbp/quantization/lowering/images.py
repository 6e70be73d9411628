"""Layers that crop and resize images, in terms of slices and a resizing."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp.quantization.lowering.primitives import Part, Replacement
from kbp.quantization.placement import rules

Tensor = Any  # of any backend, or symbolic


def resizing(layer: layers.Resizing, part: Part) -> Replacement:
    """Crop or pad images to an aspect ratio, if it is kept, and resize."""
    _check(layer)
    if layer.antialias:
        raise rules.refusal(layer, "use antialias=False")
    if layer.interpolation not in ("nearest", "bilinear"):
        raise rules.refusal(
            layer, "use interpolation='nearest' or interpolation='bilinear'"
        )
    if layer.pad_to_aspect_ratio and layer.fill_value:
        raise rules.refusal(layer, "use fill_value=0")
    size = layer.height, layer.width

    def apply(inputs: Tensor) -> Tensor:
        x = inputs
        if layer.crop_to_aspect_ratio:
            x = _cropped(layer, x, _least(_sizes(layer, x), size))
        elif layer.pad_to_aspect_ratio:
            height, width = _sizes(layer, x)
            wide = _quotient(width * size[0], size[1])
            high = _quotient(height * size[1], size[0])
            top, left = (max(wide - height, 0) // 2, max(high - width, 0) // 2)
            padding = ((top, top), (left, left))
            x = part(layers.ZeroPadding2D, "padding", padding)(x)
        return _resized(x, size, layer.interpolation)

    return apply


def center_crop(layer: layers.CenterCrop, part: Part) -> Replacement:
    """Take the middle of images, of small ones after they are enlarged."""
    _check(layer)
    size = layer.height, layer.width

    def apply(inputs: Tensor) -> Tensor:
        height, width = _sizes(layer, inputs)
        if height >= size[0] and width >= size[1]:
            return _cropped(layer, inputs, size)
        part_of = _least((height, width), size)
        return _resized(_cropped(layer, inputs, part_of), size, "bilinear")

    return apply


def random_crop(layer: layers.RandomCrop, part: Part) -> Replacement:
    """Do nothing, as Keras does at inference."""
    _check(layer)

    def apply(inputs: Tensor) -> Tensor:
        if _sizes(layer, inputs) != (layer.height, layer.width):
            raise rules.refusal(
                layer,
                "at inference Keras gives the whole image, not one of "
                f"{layer.height} x {layer.width}: crop images before they "
                "enter the model, or use CenterCrop",
            )
        return inputs

    return apply


def _check(layer: keras.layers.Layer) -> None:
    if layer.data_format != "channels_last":
        raise rules.refusal(layer, "use data_format='channels_last'")


def _sizes(layer: keras.layers.Layer, x: Tensor) -> tuple[int, int]:
    """Return height and width, of which a slice must know both."""
    if len(x.shape) != 4 or None in x.shape[1:3]:
        raise rules.refusal(layer, "give its input a fixed height and width")
    return x.shape[1], x.shape[2]


def _quotient(product: int, divisor: int) -> int:
    """Divide in float32 and cut off, as Keras does."""
    return int(np.float32(product) / np.float32(divisor))


def _least(given: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the largest part of an image that has another's aspect ratio."""
    (height, width), (rows, columns) = given, wanted
    return (
        max(min(height, _quotient(width * rows, columns)), 1),
        max(min(width, _quotient(height * columns, rows)), 1),
    )


def _cropped(
    layer: keras.layers.Layer, x: Tensor, size: tuple[int, int]
) -> Tensor:
    height, width = _sizes(layer, x)
    if (height, width) == size:
        return x
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return x[:, top : top + size[0], left : left + size[1]]


def _resized(x: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    if tuple(x.shape[1:3]) == size:
        return x
    return ops.image.resize(
        x, size, interpolation=interpolation, data_format="channels_last"
    )
