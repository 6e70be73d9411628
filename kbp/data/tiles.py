"""Images of any size as overlapping tiles of one size."""

import math

import numpy as np


def cut(image: np.ndarray, tile: int, *, overlap: int = 0) -> np.ndarray:
    """Return square tiles that cover an image, row by row.

    They are spread evenly, so neighbours overlap by `overlap` or more. An image
    that is smaller than a tile is continued by its mirror image.

    Args:
        image: `(height, width, ...)`.
        tile: their height and width, in pixels.
        overlap: in pixels, less than `tile`.

    Returns:
        `(tiles, tile, tile, ...)`.
    """
    missing = [max(0, tile - size) for size in image.shape[:2]]
    rest = [(0, 0)] * (image.ndim - 2)
    image = np.pad(image, [(0, m) for m in missing] + rest, mode="symmetric")
    return np.stack(
        [
            image[y : y + tile, x : x + tile]
            for y, x in _corners(image.shape, tile, overlap)
        ]
    )


def join(
    tiles: np.ndarray, height: int, width: int, *, overlap: int = 0
) -> np.ndarray:
    """Return the image that `cut` made tiles of.

    Where tiles overlap, they are averaged; each counts the less the nearer its
    border is.

    Args:
        tiles: `(tiles, tile, tile, channels)`, in the order of `cut`.
        height: of the image, in pixels.
        width: of the image, in pixels.
        overlap: as `cut` was given.

    Returns:
        Floats `(height, width, channels)`.
    """
    tile = tiles.shape[1]
    shape = (max(height, tile), max(width, tile))
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1))
    weight = np.outer(ramp, ramp)[..., None].astype("float64")
    total = np.zeros((*shape, tiles.shape[-1]))
    weights = np.zeros((*shape, 1))
    corners = _corners(shape, tile, overlap)
    for (y, x), values in zip(corners, tiles, strict=True):
        total[y : y + tile, x : x + tile] += weight * values
        weights[y : y + tile, x : x + tile] += weight
    return (total / weights)[:height, :width].astype(tiles.dtype)


def _corners(shape, tile, overlap):
    rows, columns = (_starts(size, tile, overlap) for size in shape[:2])
    return [(y, x) for y in rows for x in columns]


def _starts(size, tile, overlap):
    """Return where tiles begin, evenly spread from the first pixel to the last.

    `size` is `tile` at least.
    """
    count = 1 + math.ceil((size - tile) / (tile - overlap))
    return np.linspace(0, size - tile, count).round().astype(int).tolist()
