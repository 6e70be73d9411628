"""Reads image files."""

import sys
from typing import Any

import numpy as np
from PIL import Image, ImageOps


def read(path: str, facts: dict[str, Any]) -> Any:
    """Return an image of 8 bits: turned as its EXIF data say, on white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode == "F":
        sys.exit(f"{path}: holds floats; save it in grey or RGB.")
    if image.mode.startswith("I"):  # more bits, up to the white level
        values, white = np.asarray(image), facts["white_level"]
        low, high = values.min(), values.max()
        if low < 0 or high > white:
            sys.exit(
                f"{path}: holds values from {low} to {high}, and white "
                f"is {white}."
            )
        values = values * (255 / white)
        image = Image.fromarray(values.round().astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image


def scaled(pixels: Any, facts: dict[str, Any]) -> np.ndarray:
    """Return what the model takes of pixels from 0 to 255."""
    mean, std = (np.array(facts[key], "float32") for key in ("mean", "std"))
    return (np.asarray(pixels, "float32") - mean) / std
