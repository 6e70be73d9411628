"""Segmentation of images of any size by a model of fixed input size."""

import colorsys
import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import special

from kbp.data import tiles
from kbp.inference.ensembles import mutual_information


def label(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    size: tuple[int, int],
    *,
    overlap: int,
) -> np.ndarray:
    """Return the most probable class of each pixel.

    An image that is larger than the model's input is cut into tiles, whose
    probabilities are averaged where they overlap; a smaller one is extended by
    its mirror image.

    Args:
        predict: `predict(batch) -> logits`, `(batch, *size, classes)`.
        image: floats `(height, width, channels)`.
        size: height and width of the model's inputs, in pixels.
        overlap: overlap of the tiles in pixels, less than `size`.

    Returns:
        Integers `(height, width)`.

    Example:
    >>> import numpy as np
    >>> def predict(batch):  # two classes: dark and bright
    ...     return np.concatenate([1 - batch, batch], axis=-1)
    >>> image = np.eye(6)[..., None]
    >>> bool((label(predict, image, (4, 4), overlap=2) == np.eye(6)).all())
    True
    """

    def probabilities(batch: np.ndarray) -> np.ndarray:
        return special.softmax(predict(batch), axis=-1)

    return _joined(probabilities, image, size, overlap).argmax(axis=-1)


def disagreement(
    members: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    size: tuple[int, int],
    *,
    overlap: int,
) -> np.ndarray:
    """Return how far the members of an ensemble differ at each pixel.

    Args:
        members: `members(batch) -> logits`, `(members, batch, *size, classes)`.
        image: see `label`.
        size: likewise.
        overlap: likewise.

    Returns:
        `mutual_information`, floats `(height, width)`, as a share of the most
        that there can be: 0 where all agree, 1 where they are sure of as many
        different classes as they can.
    """
    count = 0

    def probabilities(batch: np.ndarray) -> np.ndarray:
        nonlocal count
        found = special.softmax(members(batch), axis=-1)
        count = len(found)
        return np.concatenate([*found], axis=-1)

    joined = _joined(probabilities, image, size, overlap)
    likely = np.stack(np.split(joined, count, axis=-1))
    most = np.log(min(count, likely.shape[-1]))
    return mutual_information(likely) / most


def _joined(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    size: tuple[int, int],
    overlap: int,
) -> np.ndarray:
    """Return what is predicted of an image's tiles, averaged where they lap."""
    parts = tiles.cut(image, size, overlap=overlap)
    found = np.concatenate(
        [
            predict(parts[start : start + 16])
            for start in range(0, len(parts), 16)  # bounds the memory
        ]
    )
    height, width, _ = image.shape
    return tiles.join(found, height, width, overlap=overlap)


def mask_as_png(labels: np.ndarray, num_classes: int) -> bytes:
    """Return a PNG file of labels: 0 and 255 for two classes, or a palette."""
    values = labels * 255 if num_classes == 2 else labels
    image = Image.fromarray(values.astype("uint8"))
    if num_classes > 2:
        image = image.convert("P")
        colors = [_color(index) for index in range(num_classes)]
        image.putpalette([value for color in colors for value in color])
    return _png(image)


def share_as_png(shares: np.ndarray) -> bytes:
    """Return a grey PNG file of shares: 0 is black, 1 is white."""
    values = (np.clip(shares, 0, 1) * 255).round().astype("uint8")
    return _png(Image.fromarray(values))


def overlay_as_png(image: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a PNG file of an image whose labelled pixels are colored."""
    colored = np.broadcast_to(image, (*image.shape[:2], 3)) * 255
    for index in np.unique(labels[labels > 0]):
        here = labels == index
        colored[here] = 0.6 * colored[here] + 0.4 * np.array(_color(index))
    return _png(Image.fromarray(colored.round().astype("uint8")))


def _color(index: int) -> tuple[int, ...]:
    """Return a class's color: none, orange, or a hue far from those before."""
    golden = 0.618034  # of a turn; no hue repeats
    hue = (0.056 + golden * (index - 1)) % 1
    color = colorsys.hsv_to_rgb(hue, 0.9, 0.92 if index else 0.0)
    return tuple(round(255 * value) for value in color)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
