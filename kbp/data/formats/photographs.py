"""Photographs of any size and kind, read at one size."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kbp.data.formats.image_files import decode, wide_values
from kbp.errors import UserError

_Size = tuple[int, int]  # width and height, as Pillow has them
# A larger image is first reduced to about this many times its size by means of
# whole pixels, which is fast, and then to its size by weighted ones.
_GAP = 2.0


def _crop(image: Any, size: _Size) -> Any:
    scale = min(own / new for own, new in zip(image.size, size, strict=True))
    left, top = (
        # Rounding may make nothing a little less than that.
        max(0.0, (own - scale * new) / 2)
        for own, new in zip(image.size, size, strict=True)
    )
    box = (left, top, image.width - left, image.height - top)
    return _resize(image, size, box)


def _pad(image: Any, size: _Size) -> Any:
    scale = max(own / new for own, new in zip(image.size, size, strict=True))
    width, height = (max(1, round(own / scale)) for own in image.size)
    padded = Image.new(image.mode, size)
    place = ((size[0] - width) // 2, (size[1] - height) // 2)
    padded.paste(_resize(image, (width, height)), place)
    return padded


def _resize(
    image: Any, size: _Size, box: tuple[float, ...] | None = None
) -> Any:
    bilinear = Image.Resampling.BILINEAR
    return image.resize(size, bilinear, box=box, reducing_gap=_GAP)


# How an image becomes one of another size.
RESIZES: dict[str, Callable[[Any, _Size], Any]] = {
    "crop": _crop,
    "pad": _pad,
    "stretch": _resize,
}
RESIZE = "crop"


def read_photographs(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    channels: int = 3,
    resize: str = RESIZE,
) -> np.ndarray:
    """Read images at one size, several at a time.

    An image is turned as its EXIF data say, laid on white where it is not
    opaque, and made grey or of three colors with 8 bits each. Sixteen bits
    count from black to white.

    Args:
        paths: of the files.
        size: height and width, in pixels.
        channels: 1 for grey, 3 for color.
        resize: `"crop"`: the largest part of the right proportions about the
            center; `"pad"`: all of it, between black borders; `"stretch"`: all
            of it, out of proportion. Pixels are averaged as the size asks.

    Returns:
        Bytes `(images, height, width, channels)`.

    Raises:
        UserError: a file cannot be read; the message names the first.

    Example:
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "red.png"
    ...     Image.new("RGB", (30, 20), "red").save(path)
    ...     images = read_photographs([path], (4, 4))
    >>> images.shape, images[0, 0, 0].tolist()
    ((1, 4, 4, 3), [255, 0, 0])
    """
    images = np.empty((len(paths), *size, channels), "uint8")

    def read(index: int) -> UserError | None:
        try:
            image = _read(paths[index], (size[1], size[0]), channels, resize)
        except UserError as error:
            return error
        images[index] = np.asarray(image).reshape(images.shape[1:])
        return None

    # Of large images and of odd data beside the pixels; for all threads here,
    # because Python keeps one list of filters.
    with (
        warnings.catch_warnings(action="ignore"),
        ThreadPoolExecutor() as pool,
    ):
        errors = [e for e in pool.map(read, range(len(paths))) if e]
    if len(errors) > 1:
        raise UserError(f"{errors[0]} ({len(errors)} files are wrong.)")
    if errors:
        raise errors[0]
    return images


def _read(path: Path, size: _Size, channels: int, resize: str) -> Any:
    mode = "L" if channels == 1 else "RGB"
    image = decode(path, draft=(mode, size))
    if image.mode.startswith("I"):
        values = wide_values(path, image).astype("float32") / 257
        image = Image.fromarray(values.round().astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode != mode:
        image = image.convert(mode)
    return RESIZES[resize](image, size)
