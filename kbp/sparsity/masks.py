"""Finding the masks of a model."""

from collections.abc import Iterator

import keras
import numpy as np

from kbp import graph
from kbp.layers import DTM, FixedMask, TransformedLayer


def masked_layers(model: keras.Model) -> Iterator[TransformedLayer]:
    """Yield the layers of a model whose kernel carries a mask."""
    for layer in graph.flatten(model).layers:
        if any(isinstance(t, DTM | FixedMask) for t in graph.transforms(layer)):
            yield layer


def hard_mask(layer: TransformedLayer) -> np.ndarray:
    """Return a masked layer's mask of zeros and ones, kernel-shaped."""
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    mask = keras.ops.ones_like(kernel)
    for transform in layer.transforms:
        if isinstance(transform, DTM):
            mask = mask * transform.mask(kernel)
        elif isinstance(transform, FixedMask):
            mask = mask * transform.mask
    return keras.ops.convert_to_numpy(mask)
