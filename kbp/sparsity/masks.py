"""Finding the masks of a model."""

import collections
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from kbp import graph
from kbp.layers import DTM, FixedMask, KernelTransform, TransformedLayer


def masked_layers(model: keras.Model) -> Iterator[TransformedLayer]:
    """Yield the layers of a model whose kernel carries a mask.

    A layer with masks on several kernels is yielded for each: as the wrapper
    that holds the mask.

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
        for wrapper in graph.wrappers(layer):
            if any(isinstance(t, DTM | FixedMask) for t in wrapper.transforms):
                yield wrapper


def names_of(masked: Sequence[TransformedLayer]) -> list[str]:
    """Return the names of a model's masks: with the kernel's if it has several.

    Args:
        masked: all of `masked_layers`.
    """
    counts = collections.Counter(layer.innermost for layer in masked)
    return [
        f"{x.name}.{x.kernel_attribute}" if counts[x.innermost] > 1 else x.name
        for x in masked
    ]


def check_unrounded(model: keras.Model) -> None:
    """Raise a ValueError if a model's weights are rounded in training.

    Args:
        model: a flat model.
    """
    for layer in model.layers:
        parts = (layer, *graph.transforms(layer))
        if any(isinstance(x, KernelTransform) and x.rounds for x in parts):
            raise ValueError(
                f"Model {model.name} is quantization-aware, and keeps the "
                "masks and channels that it has. Change those of the model "
                "that it was made from, and quantize the result."
            )


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
