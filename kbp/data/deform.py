"""Random changes of images that their masks follow, deterministic in a seed."""

import functools
import math
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbp.data.shares import Rows
from kbp.data.splits import Augment, Tensor


def deform(
    *,
    crop_size: int | None = None,
    flip: bool = False,
    rotation: float = 0.0,
    zoom: float = 0.0,
    elastic: float = 0.0,
    intensity: float = 0.0,
) -> Augment:
    """Return a function that changes images and masks alike.

    Both are read once, at the places where all changes of shape together take
    each pixel from: images between pixels, masks at the nearest one. What comes
    in from outside is the mirror image.

    Args:
        crop_size: height and width of a square somewhere in the image, in
            pixels; by default the whole image.
        flip: mirror and turn by right angles, all eight ways alike. Images, or
            crops, must be square.
        rotation: largest further angle, in degrees, up to 180.
        zoom: largest relative change of size, less than 1.
        elastic: standard deviation of a smooth field of shifts each way, in
            pixels: that at the nodes of a grid of five by five. Between them it
            is less; of all pixels, the root mean square is 0.86 of it.
        intensity: largest relative change of contrast, and largest change of
            brightness, in parts of white; up to 1.

    Returns:
        `augment(images, masks, seed) -> (images, masks)` for images
        `(batch, height, width, channels)` in [0, 1] and integers
        `(batch, height, width)`.

    Raises:
        ValueError: an argument is out of its range; or, from `augment`, images
            are smaller than the crop, not square though they are turned, or of
            another size than the masks.

    Reference:
        Elastic fields from a coarse grid: Ronneberger et al., U-Net, 2015.

    Example:
    >>> import tensorflow as tf
    >>> from kbp.data import deform
    >>> augment = deform(crop_size=4, flip=True)
    >>> masks = tf.zeros((2, 8, 8), tf.int32)
    >>> images, masks = augment(tf.ones((2, 8, 8, 1)), masks, (0, 1))
    >>> images.shape, masks.shape
    (TensorShape([2, 4, 4, 1]), TensorShape([2, 4, 4]))
    """
    _check_arguments(crop_size, rotation, zoom, elastic, intensity)

    def augment(
        images: Tensor, masks: Tensor, seed: Tensor, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        rows = rows or Rows.all_of(images)
        _check_shapes(images, masks, crop_size, flip)
        seeds = tf.random.split(seed, 5)
        whole = tf.unstack(tf.shape(images)[1:3])
        size = (crop_size, crop_size) if crop_size else whole
        y, x = _turned(rows, size, seeds[0], rotation, zoom, flip)
        if elastic:
            nodes = tf.random.stateless_normal((rows.total, 5, 5, 2), seeds[1])
            field = elastic * tf.image.resize(
                rows.of(nodes), size, method="bicubic"
            )
            y, x = y + field[..., 0], x + field[..., 1]
        y += _centers(rows, whole[0], size[0], seeds[2])
        x += _centers(rows, whole[1], size[1], seeds[3])
        images = _read(images, y, x, order=1)
        masks = _read(masks[..., None], y, x, order=0)[..., 0]
        if intensity:
            images = _change_intensity(images, rows, intensity, seeds[4])
        return images, masks

    return augment


def _check_arguments(
    crop_size: int | None,
    rotation: float,
    zoom: float,
    elastic: float,
    intensity: float,
) -> None:
    sized = crop_size is None or (
        isinstance(crop_size, int | np.integer) and crop_size >= 1
    )
    for name, value, fits, known in (
        ("crop_size", crop_size, sized, "a whole number, 1 or more"),
        ("rotation", rotation, 0 <= rotation <= 180, "in [0, 180]"),
        ("zoom", zoom, 0 <= zoom < 1, "in [0, 1)"),
        ("elastic", elastic, 0 <= elastic < math.inf, "in [0, inf)"),
        ("intensity", intensity, 0 <= intensity <= 1, "in [0, 1]"),
    ):
        if not fits:
            raise ValueError(
                f"Argument `{name}` must be {known}. Received: {name}={value!r}"
            )


def _check_shapes(
    images: Tensor, masks: Tensor, crop_size: int | None, flip: bool
) -> None:
    shape = tf.TensorShape(images.shape[:-1])
    if not shape.is_compatible_with(masks.shape):
        raise ValueError(
            "Masks must be of their images' size. Received: images of "
            f"{images.shape}, masks of {masks.shape}"
        )
    sizes = {size for size in shape[1:] if size is not None}
    if crop_size and any(size < crop_size for size in sizes):
        raise ValueError(
            f"Images must not be smaller than crop_size={crop_size}. "
            f"Received: images of {images.shape}"
        )
    if flip and not crop_size and len(sizes) > 1:
        raise ValueError(
            "With flip=True images must be square, or crop_size be given. "
            f"Received: images of {images.shape}"
        )


def _turned(
    own: Rows,
    size: Sequence[Tensor],
    seed: Tensor,
    rotation: float,
    zoom: float,
    flip: bool,
) -> tuple[Tensor, Tensor]:
    """Return rows and columns about the center, `(batch, *size)` each."""
    seeds = tf.random.split(seed, 2)
    angle, change = tf.unstack(
        tf.random.stateless_uniform((2, own.total, 1, 1), seeds[0], -1.0, 1.0)
    )
    angle, scale = angle * (rotation * math.pi / 180), 1 / (1 + change * zoom)
    rows, columns = tf.meshgrid(
        *(tf.range(tf.cast(n, tf.float32)) - _middle(n) for n in size),
        indexing="ij",
    )
    if flip:
        ways = tf.random.stateless_uniform(
            (own.total, 1, 1), seeds[1], 0, 8, tf.int32
        )
        angle += tf.cast(ways // 2, tf.float32) * (math.pi / 2)
        columns *= own.of(tf.cast(1 - 2 * (ways % 2), tf.float32))
    cosine, sine = own.of(scale * tf.cos(angle)), own.of(scale * tf.sin(angle))
    return cosine * rows - sine * columns, sine * rows + cosine * columns


def _centers(own: Rows, whole: Tensor, part: Tensor, seed: Tensor) -> Tensor:
    """Return the middle of a part that lies on whole pixels at random."""
    random = own.of(tf.random.stateless_uniform((own.total, 1, 1), seed))
    free = tf.cast(whole - part, tf.float32)
    return tf.floor(random * (free + 1)) + _middle(part)


def _middle(size: Tensor) -> Tensor:
    return (tf.cast(size, tf.float32) - 1.0) / 2.0


def _read(values: Tensor, y: Tensor, x: Tensor, *, order: int) -> Tensor:
    """Read `(batch, height, width, channels)` at places of each example.

    The numbers are those of `keras.ops.image.map_coordinates` with the fill
    mode "reflect", of all channels at once.
    """
    height, width, channels = (tf.shape(values)[i] for i in (1, 2, 3))
    pixels = tf.reshape(values, (-1, height * width, channels))
    read = [
        (row, weight, column, other)
        for row, weight in _neighbors(y, height, order)
        for column, other in _neighbors(x, width, order)
    ]
    parts = [
        tf.cast(
            tf.gather(pixels, row * width + column, batch_dims=1), tf.float32
        )
        * (weight * other)[..., None]
        for row, weight, column, other in read
    ]  # (batch, height, width, channels) each
    return tf.cast(functools.reduce(operator.add, parts), values.dtype)


def _neighbors(
    place: Tensor, size: Tensor, order: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the pixels that a place along an axis lies between, and weights.

    Beyond the first pixel's center and the last one's edge they are mirrored.
    """
    if order == 0:
        found = [(tf.round(place), tf.ones_like(place))]
    else:
        lower = tf.floor(place)
        upper = place - lower
        found = [(lower, 1.0 - upper), (lower + 1.0, upper)]
    return [(_mirrored(pixel, size), weight) for pixel, weight in found]


def _mirrored(pixel: Tensor, size: Tensor) -> Tensor:
    inside = tf.abs(tf.cast(pixel, tf.int32)) % (2 * size)
    return tf.minimum(inside, 2 * size - 1 - inside)


def _change_intensity(
    images: Tensor, own: Rows, most: float, seed: Tensor
) -> Tensor:
    random = tf.random.stateless_uniform(
        (2, own.total, 1, 1, 1), seed, -most, most
    )
    contrast, brightness = tf.unstack(own.of(random, axis=1))
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    changed = (images - mean) * (1.0 + contrast) + mean + brightness
    return tf.clip_by_value(changed, 0.0, 1.0)
