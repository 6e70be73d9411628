"""Finding the masks of a model."""

from collections.abc import Iterator

import keras
import numpy as np

from kbp import graph
from kbp.layers import DTM, FixedMask, TransformedLayer


def masked_layers(model: keras.Model) -> Iterator[TransformedLayer]:
    """Yield the layers of a model whose kernel carries a mask.

    Args:
        model: a functional or built Sequential model.

    Raises:
        ValueError: the model's graph is not known.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> outputs = kbp.layers.DTMDense(3, name="masked")(inputs)
    >>> model = keras.Model(inputs, outputs)
    >>> [layer.name for layer in kbp.sparsity.masked_layers(model)]
    ['masked']
    """
    for layer in graph.flatten(model).layers:
        if any(isinstance(t, DTM | FixedMask) for t in graph.transforms(layer)):
            yield layer


def hard_mask(layer: TransformedLayer) -> np.ndarray:
    """Return a masked layer's mask of zeros and ones, kernel-shaped.

    Args:
        layer: one of `masked_layers`.

    Returns:
        Float array of the kernel's shape.

    Example:
    >>> import keras, numpy as np, kbp
    >>> layer = kbp.layers.DTMDense(2, threshold=0.5, use_bias=False)
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([[0.9, 0.1]]), *layer.get_weights()[1:]])
    >>> kbp.sparsity.hard_mask(layer)
    array([[1., 0.]], dtype=float32)
    """
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    mask = keras.ops.ones_like(kernel)
    for transform in layer.transforms:
        if isinstance(transform, DTM):
            mask = mask * transform.mask(kernel)
        elif isinstance(transform, FixedMask):
            mask = mask * transform.mask
    return keras.ops.convert_to_numpy(mask)
