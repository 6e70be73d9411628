"""What classes that are told by indices are made of."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp.quantization.lowering.primitives import Part, Replacement
from kbp.quantization.placement import rules

Tensor = Any  # of any backend, or symbolic


def one_hot(operation: keras.Operation, part: Part) -> Replacement:
    """Compare indices with each class."""

    def apply(x: Tensor) -> Tensor:
        if operation.axis not in (-1, len(x.shape)):
            raise rules.refusal(operation, "use axis=-1")
        return _compared(x, operation.num_classes)

    return apply


def category_encoding(
    layer: layers.CategoryEncoding, part: Part
) -> Replacement:
    """Compare indices with each class, and join or count what is found."""

    def apply(x: Tensor, count_weights: Tensor | None = None) -> Tensor:
        if count_weights is not None or layer.sparse:
            raise rules.refusal(layer, "use no count_weights and sparse=False")
        if len(x.shape) > 1 and x.shape[-1] == 1:
            return _compared(ops.squeeze(x, -1), layer.num_tokens)
        found = _compared(x, layer.num_tokens)
        if layer.output_mode == "one_hot":
            return found
        if len(x.shape) == 1 or x.shape[-1] is None:
            raise rules.refusal(layer, "give its Input axes of a fixed size")
        if layer.output_mode == "multi_hot":
            return ops.max(found, axis=-2)
        return ops.mean(found, axis=-2) * float(x.shape[-1])

    return apply


def _compared(x: Tensor, count: int) -> Tensor:
    """Return a one for the class that an index is of, else zeros."""
    classes = np.arange(count, dtype=x.dtype)
    same = ops.equal(ops.expand_dims(x, -1), classes)
    return ops.where(same, 1.0, 0.0)  # a cast becomes a ONE_HOT, of floats
