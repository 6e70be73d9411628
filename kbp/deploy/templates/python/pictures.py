"""Reads image files."""

from typing import Any

import numpy as np
from PIL import Image, ImageOps


def read(path: str, facts: dict[str, Any]) -> Any:
    """Return an image, turned as its EXIF data say, of 8 bits."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # more bits, up to the white level
        values = np.asarray(image) * (255 / facts["white_level"])
        image = Image.fromarray(values.round().astype("uint8"))
    return image


def scaled(pixels: Any, facts: dict[str, Any]) -> np.ndarray:
    """Return what the model takes of pixels from 0 to 255."""
    mean, std = (np.array(facts[key], "float32") for key in ("mean", "std"))
    return (np.asarray(pixels, "float32") - mean) / std
