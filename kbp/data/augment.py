"""Random changes of images, deterministic in a seed."""

import math

import keras
import tensorflow as tf

from kbp.data.shares import Rows
from kbp.data.splits import Augment, Tensor


def affine(
    *,
    rotation: float = 0.0,
    shift: float = 0.0,
    zoom: float = 0.0,
    flip: bool = False,
) -> Augment | None:
    """Return a function that moves each image of a batch at random.

    Args:
        rotation: largest angle, in degrees.
        shift: largest shift, in parts of the size.
        zoom: largest relative change of size.
        flip: mirror every second image left to right.

    Returns:
        `augment(images, labels, seed) -> (images, labels)` for images
        `(batch, height, width, channels)`, or `None` if there is nothing to
        do. What comes in from outside is zero.

    Example:
    >>> import tensorflow as tf
    >>> from kbp.data import affine
    >>> augment = affine(rotation=10, flip=True)
    >>> images, labels = augment(tf.ones((2, 8, 8, 1)), tf.range(2), (0, 1))
    >>> images.shape
    TensorShape([2, 8, 8, 1])
    """
    if not (rotation or shift or zoom or flip):
        return None

    def augment(
        images: Tensor, labels: Tensor, seed: Tensor, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        rows = rows or Rows.all_of(images)
        shape = tf.shape(images)
        height, width = (tf.cast(shape[i], tf.float32) for i in (1, 2))
        random = tf.random.stateless_uniform(
            (5, rows.total), seed, minval=-1.0, maxval=1.0
        )
        angle = random[0] * rotation * math.pi / 180
        scale = 1.0 / (1.0 + random[1] * zoom)
        mirror = tf.where(flip & (random[4] < 0), -1.0, 1.0)
        cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
        # Output pixel (x, y) is read at (a x + b y + c, d x + e y + f); turns
        # and mirrors are about the center.
        x0, y0 = (width - 1) / 2, (height - 1) / 2
        a, b, d, e = mirror * cosine, -mirror * sine, sine, cosine
        c = x0 - a * x0 - b * y0 + random[2] * shift * width
        f = y0 - d * x0 - e * y0 + random[3] * shift * height
        zero = tf.zeros_like(a)
        transform = tf.stack([a, b, c, d, e, f, zero, zero], axis=1)
        images = keras.ops.image.affine_transform(
            images,
            rows.of(transform),
            interpolation="bilinear",
            fill_mode="constant",
        )  # (batch, height, width, channels)
        return images, labels

    return augment


def crop_and_flip(*, padding: int) -> Augment:
    """Return a function that mirrors and shifts each image by whole pixels.

    Args:
        padding: largest shift, in pixels; what comes in is mirrored at the
            border.

    Returns:
        `augment(images, labels, seed) -> (images, labels)` for images
        `(batch, height, width, channels)`.

    Example:
    >>> import tensorflow as tf
    >>> from kbp.data import crop_and_flip
    >>> augment = crop_and_flip(padding=2)
    >>> images, labels = augment(tf.ones((2, 8, 8, 1)), tf.range(2), (0, 1))
    >>> images.shape
    TensorShape([2, 8, 8, 1])
    """

    def augment(
        images: Tensor, labels: Tensor, seed: Tensor, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        rows = rows or Rows.all_of(images)
        height, width = (tf.shape(images)[i] for i in (1, 2))
        random = tf.random.stateless_uniform((3, rows.total), seed)
        flip, down, right = tf.unstack(rows.of(random, axis=1))
        images = tf.where(
            (flip < 0.5)[:, None, None, None], images[:, :, ::-1], images
        )
        border = [padding, padding]
        images = tf.pad(
            images, [[0, 0], border, border, [0, 0]], mode="REFLECT"
        )
        shifts = 2 * padding + 1
        y, x = (
            tf.cast(random * shifts, tf.int32)[:, None] + tf.range(size)
            for random, size in ((down, height), (right, width))
        )  # (batch, height), (batch, width)
        images = tf.gather(images, y, batch_dims=1)
        return tf.gather(images, x, axis=2, batch_dims=1), labels

    return augment
