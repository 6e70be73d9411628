"""Images of any size as overlapping tiles of one size."""

import math
from collections.abc import Sequence

import numpy as np


def cut(
    image: np.ndarray, tile: int | tuple[int, int], *, overlap: int = 0
) -> np.ndarray:
    """Return tiles that cover an image, row by row.

    They are spread evenly, so neighbours overlap by `overlap` or more. An image
    that is smaller than a tile is continued by its mirror image.

    Args:
        image: `(height, width, ...)`.
        tile: their height and width, in pixels; one number if they are square.
        overlap: in pixels, less than either.

    Returns:
        `(tiles, tile height, tile width, ...)`.
    """
    tall, wide = size = (
        (tile, tile) if isinstance(tile, int | np.integer) else tile
    )
    missing = [
        max(0, least - length)
        for least, length in zip(size, image.shape[:2], strict=True)
    ]
    rest = [(0, 0)] * (image.ndim - 2)
    image = np.pad(image, [(0, m) for m in missing] + rest, mode="symmetric")
    return np.stack(
        [
            image[y : y + tall, x : x + wide]
            for y, x in _corners(image.shape[:2], size, overlap)
        ]
    )


def join(
    tiles: np.ndarray, height: int, width: int, *, overlap: int = 0
) -> np.ndarray:
    """Return the image that `cut` made tiles of.

    Where tiles overlap, they are averaged; each counts the less the nearer its
    border is.

    Args:
        tiles: `(tiles, tile height, tile width, channels)`, in the order of
            `cut`.
        height: of the image, in pixels.
        width: of the image, in pixels.
        overlap: as `cut` was given.

    Returns:
        Floats `(height, width, channels)`.
    """
    tall, wide = tile = tiles.shape[1:3]
    shape = (max(height, tall), max(width, wide))
    weight = np.outer(*map(_ramp, tile))[..., None].astype("float64")
    total = np.zeros((*shape, tiles.shape[-1]))
    weights = np.zeros((*shape, 1))
    corners = _corners(shape, tile, overlap)
    for (y, x), values in zip(corners, tiles, strict=True):
        total[y : y + tall, x : x + wide] += weight * values
        weights[y : y + tall, x : x + wide] += weight
    return (total / weights)[:height, :width].astype(tiles.dtype)


def _ramp(size: int) -> np.ndarray:
    return np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1))


def _corners(
    shape: Sequence[int], tile: Sequence[int], overlap: int
) -> list[tuple[int, int]]:
    rows, columns = (
        _starts(size, part, overlap)
        for size, part in zip(shape, tile, strict=True)
    )
    return [(y, x) for y in rows for x in columns]


def _starts(size: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin, evenly spread from the first pixel to the last.

    `size` is `tile` at least.
    """
    count = 1 + math.ceil((size - tile) / (tile - overlap))
    return np.linspace(0, size - tile, count).round().astype(int).tolist()
