"""Image files, read as arrays."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from kbp.data.splitting import some
from kbp.errors import UserError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow's
_LITTER = ("desktop.ini", "thumbs.db")  # which file managers leave
_MASK_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "I;16B")
IMAGE_MODES = (*_MASK_MODES, "PA", "CMYK", "YCbCr")


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder and of its subfolders, in order.

    Hidden files, and what file managers leave, are passed over.

    Raises:
        UserError: the folder is missing, holds files of other suffixes than
            `SUFFIXES`, or no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not is_litter(path.relative_to(folder))
    ]
    others = [
        path.relative_to(folder).as_posix()
        for path in files
        if path.suffix.lower() not in SUFFIXES
    ]
    if others or not files:
        held = "no image"
        if others:
            held = f"files of other kinds: {some(others)}"
        raise UserError(
            f"{folder}: holds {held}. Known suffixes are {', '.join(SUFFIXES)}."
        )
    return files


def read_image(path: Path, channels: int) -> np.ndarray:
    """Read an image as floats in [0, 1], `(height, width, channels)`.

    Eight and sixteen bits count from black to white. It is turned as its EXIF
    data say, and may have up to Pillow's limit of about 179 million pixels.

    Raises:
        UserError: the file cannot be read, has several pages, or holds floats
            or what 16 bits cannot.
    """
    image = _open(path, IMAGE_MODES)
    if image.mode.startswith("I"):
        values = wide_values(path, image)[..., None]
        return np.repeat(values.astype("float32") / 65535, channels, axis=-1)
    values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return values.reshape(*values.shape[:2], channels).astype("float32") / 255


def wide_values(path: Path, image: Any) -> np.ndarray:
    """Return the integers of an image of more than 8 bits.

    Args:
        path: of the file, for messages.
        image: of one of Pillow's modes `"I..."`.

    Raises:
        UserError: 16 bits do not hold them.
    """
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise UserError(
            f"{path}: holds values from {low} to {high}, whose white is "
            "not known; save it with 8 or 16 bits."
        )
    return values


def read_mask(path: Path) -> np.ndarray:
    """Read a mask's values or indices as integers, `(height, width)`.

    It may be grey that was saved as color, or with an opacity that is the same
    everywhere; and it is turned as its EXIF data say.

    Raises:
        UserError: the file cannot be read, has several pages, or holds floats,
            colors, or a shape in its opacity.
    """
    image = _open(path, _MASK_MODES)
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


def is_litter(path: Path) -> bool:
    """Say whether a file or folder is hidden, or what file managers leave."""
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.lower() in _LITTER


def _open(path: Path, modes: Sequence[str]) -> Any:
    large = Image.DecompressionBombWarning
    with warnings.catch_warnings(action="ignore", category=large):
        return decode(path, modes)


def decode(
    path: Path,
    modes: Sequence[str] = IMAGE_MODES,
    draft: tuple[str, tuple[int, int]] | None = None,
) -> Any:
    """Return the first page of a file as an image of Pillow's, turned by EXIF.

    Args:
        path: of the file.
        modes: of Pillow's, which the image may have.
        draft: a mode and a size `(width, height)`: JPEG files are decoded in
            that mode if they can be, and at the least size above that, which
            takes less time.

    Raises:
        UserError: the file cannot be read, has several pages, or another mode.
    """
    try:
        # Given a path, Pillow garbles TIFF files that are to be turned.
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as raw:
            # Pages of cameras' JPEG files are previews, and for the other eye.
            pages = 1 if raw.format == "MPO" else getattr(raw, "n_frames", 1)
            if draft:
                raw.draft(*draft)
            image = _plain_png(path, raw)
            if image is None:
                raw.load()
                ImageOps.exif_transpose(raw, in_place=True)
                image = raw
    except UnidentifiedImageError as error:
        raise UserError(
            f"{path}: cannot be read: it is no BMP, JPEG, PNG, TIFF or WebP "
            "image."
        ) from error
    except Exception as error:  # decoders raise any for a broken file
        raise UserError(f"{path}: cannot be read: {error}") from error
    if pages > 1:
        raise UserError(f"{path}: has {pages} pages; save each as a file.")
    if image.mode not in modes:
        held = "floats" if image.mode == "F" else f"{image.mode} colors"
        raise UserError(f"{path}: holds {held}; save it in grey or RGB.")
    return image


def _plain_png(path: Path, raw: Any) -> Any:
    """Return a PNG image of opaque bytes, `None` of others.

    TensorFlow decodes it in two thirds of the time that Pillow takes, but knows
    neither palettes nor EXIF, nor says what is wrong with a file.
    """
    plain = raw.format == "PNG" and raw.mode in ("L", "RGB")
    if not plain or raw.has_transparency_data or raw.n_frames > 1:
        return None
    content = path.read_bytes()
    if b"eXIf" in content:
        return None
    try:
        pixels = tf.io.decode_png(content).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return Image.fromarray(pixels[..., 0] if raw.mode == "L" else pixels)
