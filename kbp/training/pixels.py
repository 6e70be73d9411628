"""Labels of an image's pixels, by a model of smaller or larger inputs."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from kbp.data import tiles

# Of classes 1, 2, ...; the first class has no color.
COLORS = ((234, 88, 12), (37, 99, 235), (22, 163, 74), (219, 39, 119))


def label(
    predict: Callable, image: np.ndarray, size: int, *, overlap: int
) -> tuple[np.ndarray, int]:
    """Return the most probable class of each pixel, and how many there are.

    An image that is larger than the model's input is cut into tiles, whose
    probabilities are averaged where they overlap; a smaller one is continued by
    its mirror image.

    Args:
        predict: `predict(batch) -> logits` of square inputs.
        image: floats `(height, width, channels)`.
        size: height and width of the model's inputs, in pixels.
        overlap: of the tiles, in pixels, less than `size`.

    Returns:
        Integers `(height, width)`, and the number of classes.
    """
    logits = predict(tiles.cut(image, size, overlap=overlap))
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=-1, keepdims=True)
    height, width, _ = image.shape
    joined = tiles.join(probabilities, height, width, overlap=overlap)
    return joined.argmax(axis=-1), joined.shape[-1]


def mask_as_png(labels: np.ndarray, num_classes: int) -> bytes:
    """Return labels as a PNG file: 0 and 255 for two classes, else indices."""
    values = labels * 255 if num_classes == 2 else labels
    image = Image.fromarray(values.astype("uint8"))
    if num_classes > 2:
        image = image.convert("P")
        colors = [(0, 0, 0), *(_color(i) for i in range(1, num_classes))]
        image.putpalette([value for color in colors for value in color])
    return _png(image)


def overlay_as_png(image: np.ndarray, labels: np.ndarray) -> bytes:
    """Return an image with its labelled pixels colored, as a PNG file."""
    colored = np.broadcast_to(image, (*image.shape[:2], 3)) * 255
    for index in range(1, int(labels.max(initial=0)) + 1):
        here = labels == index
        colored[here] = 0.6 * colored[here] + 0.4 * np.array(_color(index))
    return _png(Image.fromarray(colored.round().astype("uint8")))


def _color(index):
    return COLORS[(index - 1) % len(COLORS)]


def _png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
