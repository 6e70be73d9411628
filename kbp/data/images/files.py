"""Image files, read as arrays."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from kbp import _compat
from kbp.data.images import limits
from kbp.data.images.kinds import WHITE_LEVEL, ImageFacts
from kbp.data.images.limits import BUDGET, MOST_PIXELS
from kbp.data.images.quiet import quiet
from kbp.errors import UserError

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow's
_MOST_OF_PNG = 16_000_000  # bytes and pixels, which are in memory twice
_MOST_OF_DEEP_PNG = 24_000_000  # pixels
_DEPTH = 24  # place in a PNG file of the bits of a value
_BITS_PER_SAMPLE = 258  # tag of TIFF
_ORIENTATION = 0x0112  # of EXIF
_MASK_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "I;16B")
_ROWS = 1000  # at a time, which bounds the memory
IMAGE_MODES = (*_MASK_MODES, "PA", "CMYK", "YCbCr")


def read_image(
    path: Path, channels: int, white_level: int = WHITE_LEVEL
) -> tuple[np.ndarray, ImageFacts]:
    """Read an image as floats in [0, 1], `(height, width, channels)`.

    It is turned as its EXIF data say, and laid on white where it is not
    opaque. Like a mask it may have a third of `MOST_PIXELS`, since all of it
    becomes floats.

    Args:
        path: of the file.
        channels: 1 for grey, 3 for color.
        white_level: value of white in images of more than 8 bits.

    Returns:
        The image, and what its values are.

    Raises:
        UserError: the file cannot be read, is too large, has several pages, or
            holds floats or what is whiter than white.
    """
    with quiet():
        image = decode(path, most_pixels=MOST_PIXELS // 3)
    if is_wide(image):
        values = wide_values(path, image, white_level)
        bits, largest = 16, int(values.max())
        values = values[..., None] if values.ndim == 2 else values
        floats = values.astype("float32")
        floats /= white_level
        if values.shape[-1] in (1, channels):
            floats = np.repeat(floats, channels // values.shape[-1], axis=-1)
        else:  # as Pillow makes color grey
            floats = floats @ np.array([[0.299], [0.587], [0.114]], "float32")
    else:
        mode = "L" if channels == 1 else "RGB"
        pixels = np.asarray(on_white(image).convert(mode))
        largest = largest_of_halved(path, image, white_level)
        bits, largest = (16, largest) if largest else (8, int(pixels.max()))
        floats = pixels.reshape(*pixels.shape[:2], channels).astype("float32")
        floats /= 255
    color = channels == 3 and bool(np.ptp(floats, axis=-1).max() > 8 / 255)
    return floats, ImageFacts(bits, color, largest)


def count_pixels(path: Path) -> int:
    """Return how many pixels a file says that it has; 0 if it says nothing."""
    try:
        with (
            quiet(),
            path.open("rb") as file,
            Image.open(file, formats=_FORMATS) as raw,
        ):
            return int(raw.width * raw.height)
    except Exception:  # reading it says what is wrong
        return 0


def is_wide(image: Any) -> bool:
    """Say whether `decode` gave more than 8 bits."""
    return isinstance(image, np.ndarray) or image.mode.startswith("I")


def wide_values(
    path: Path, image: Any, white_level: int = WHITE_LEVEL
) -> np.ndarray:
    """Return the integers of an image of more than 8 bits.

    Args:
        path: of the file, for messages.
        image: what `decode` gave.
        white_level: value of white, which none may exceed.

    Returns:
        `(height, width)` in grey, or colors `(height, width, 3)` on white.

    Raises:
        UserError: a value is less than black or more than white.
    """
    values = np.asarray(image)
    if values.ndim == 3:
        values = _wide_on_white(values, white_level)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > white_level:
        advice = "save it with 8 or 16 bits"
        if low >= 0 and high <= WHITE_LEVEL:
            advice = f"data.white_level is {white_level}"
        raise UserError(
            f"{path}: holds values from {low} to {high}, whose white is "
            f"not known; {advice}."
        )
    return values


def largest_of_halved(path: Path, image: Any, white_level: int) -> int:
    """Return the largest value of a TIFF file's colors of 16 bits, about.

    Pillow reads 8 of them. Of other files it is 0.

    Args:
        path: of the file, for messages.
        image: of Pillow's, which `decode` gave.
        white_level: value of white.

    Raises:
        UserError: the white level is not that of all 16 bits.
    """
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    if image.mode not in ("RGB", "RGBA", "LA") or 16 not in bits:
        return 0
    if white_level != WHITE_LEVEL:
        raise UserError(
            f"{path}: is of color with 16 bits, which are read from PNG files "
            "alone where data.white_level is given."
        )
    return max(1, 257 * max(high for _, high in image.getextrema()))


def on_white(image: Any) -> Any:
    """Return an image of Pillow's, laid on white where it is not opaque.

    Args:
        image: of 8 bits.
    """
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    for top in range(0, image.height, _ROWS):
        box = (0, top, image.width, min(top + _ROWS, image.height))
        rows = image.crop(box)
        white = Image.new("RGBA", rows.size, "white")
        image.paste(Image.alpha_composite(white, rows), box)
    return image


def _wide_on_white(values: np.ndarray, white_level: int) -> np.ndarray:
    """Return the grey or the colors of two, three or four bands, on white."""
    bands = values.shape[-1]
    if bands in (2, 4):
        for row in values:  # one by one, which bounds the memory
            opacity = row[:, -1:] / np.float32(WHITE_LEVEL)
            laid = row * opacity + white_level * (1 - opacity)
            row[:, :-1] = laid.round()[:, :-1]
        values = values[..., :-1]
    return values if bands > 2 else values[..., 0]


def read_mask(path: Path) -> np.ndarray:
    """Read a mask's values or indices as integers, `(height, width)`.

    It may be grey that was saved as color, or with an opacity that is the same
    everywhere; and it is turned as its EXIF data say.

    Raises:
        UserError: the file cannot be read, has several pages, or holds floats,
            colors, or a shape in its opacity.
    """
    with quiet():
        image = decode(path, _MASK_MODES, most_pixels=MOST_PIXELS // 3)
    if isinstance(image, np.ndarray):
        image = Image.fromarray((image >> 8).astype("uint8"))
    bands = np.atleast_3d(np.asarray(image))  # (height, width, bands)
    if image.mode.endswith("A"):
        bands, opacity = bands[..., :-1], bands[..., -1]
        if np.ptp(opacity):
            raise UserError(
                f"{path}: has its shape in the opacity; save it as grey values "
                "or indices."
            )
    if (bands != bands[..., :1]).any():
        raise UserError(
            f"{path}: is of color; save it as grey values or indices."
        )
    return bands[..., 0].astype(np.int32)


def decode(
    path: Path,
    modes: Sequence[str] = IMAGE_MODES,
    draft: tuple[str, tuple[int, int]] | None = None,
    most_pixels: int = MOST_PIXELS,
    hold: contextlib.ExitStack | None = None,
) -> Any:
    """Return an image file's one page, turned as its EXIF data say.

    Its size is checked before it is decoded.

    Args:
        path: of the file.
        modes: of Pillow's, which the image may have.
        draft: a mode and a size `(width, height)`: JPEG files are decoded in
            that mode if they can be, and at the least size above that, which
            takes less time.
        most_pixels: that it may have.
        hold: gets the image's share of what threads may have in memory.

    Returns:
        An image of Pillow's; of a PNG file with 16 bits for each color, which
        Pillow does not have, an array `(height, width, bands)`.

    Raises:
        UserError: the file cannot be read, is too large, has several pages, or
            another mode.
    """
    limits.check_file(path)
    _compat.return_memory_of_images()
    try:
        with (
            # Given a path, Pillow garbles TIFF files that are to be turned.
            path.open("rb") as file,
            Image.open(file, formats=_FORMATS) as raw,
        ):
            limits.check_image(path, raw, most_pixels)
            if limits.count_pages(raw) > 1:
                raise UserError(
                    f"{path}: has several pages; save each as a file."
                )
            pixels = raw.width * raw.height
            if draft:
                raw.draft(*draft)
            if not raw.info.get("progressive"):  # which is in memory whole
                pixels = raw.width * raw.height
            if hold:
                hold.enter_context(BUDGET.spend(pixels))
            image = _pixels(path, raw)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path}: cannot be read: it is no BMP, JPEG, PNG, TIFF or WebP "
            "image."
        ) from error
    except tf.errors.OpError as error:
        raise UserError(f"{path}: cannot be read: it is damaged.") from error
    except Exception as error:  # decoders raise any for a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be read: {reason}") from error
    if isinstance(image, np.ndarray):
        return image
    if image.mode not in modes:
        held = "floats" if image.mode == "F" else f"{image.mode} colors"
        raise UserError(f"{path}: holds {held}; save it in grey or RGB.")
    return image


def _pixels(path: Path, raw: Any) -> Any:
    if raw.format == "PNG":
        image = _png(path, raw)
        if image is not None:
            return image
    raw.load()
    ImageOps.exif_transpose(raw, in_place=True)
    return raw


def _png(path: Path, raw: Any) -> Any:
    """Return a PNG image as TensorFlow decodes it, `None` of others.

    It takes two thirds of the time that Pillow takes for opaque bytes, and has
    16 bits for each color; but knows neither palettes nor EXIF, nor says what
    is wrong with a file.
    """
    if raw.mode in ("RGB", "RGBA", "LA") and _depth(path) == 16:
        width, height = raw.size
        limits.check_pixels(path, width, height, _MOST_OF_DEEP_PNG)
        pixels = tf.io.decode_png(path.read_bytes(), dtype=tf.uint16).numpy()
        return _turn(pixels, raw.getexif().get(_ORIENTATION, 1))
    size = max(path.stat().st_size, raw.width * raw.height)
    plain = raw.mode in ("L", "RGB") and not raw.has_transparency_data
    if not plain or size > _MOST_OF_PNG:
        return None
    content = path.read_bytes()
    if b"eXIf" in content:
        return None
    try:
        pixels = tf.io.decode_png(content).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return Image.fromarray(pixels[..., 0] if raw.mode == "L" else pixels)


def _depth(path: Path) -> int:
    """Return the bits of each value of a PNG file."""
    with path.open("rb") as file:
        return file.read(_DEPTH + 1)[_DEPTH]


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array as EXIF says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]
