"""Photographs that are drawn, of every kind that people's folders hold."""

import numpy as np
from PIL import Image

CLASSES = ("checks", "disks", "stripes")
_TURN = 6  # of EXIF: to be turned clockwise


def draw(name, rng, size):
    """Return an image of a class in colors of its own, `(height, width, 3)`."""
    height, width = size
    y, x = np.mgrid[:height, :width] / min(size)
    phase, pitch = rng.uniform(0, 1, 2), rng.uniform(0.16, 0.24)
    if name == "stripes":
        shape = np.sin(2 * np.pi * (x / pitch + phase[0])) > 0
    elif name == "checks":
        rows, columns = (
            np.sin(2 * np.pi * (axis / pitch + start)) > 0
            for axis, start in zip((y, x), phase, strict=True)
        )
        shape = rows ^ columns
    else:
        row, column = (
            (axis.max() / 2 + rng.uniform(-0.1, 0.1)) for axis in (y, x)
        )
        shape = (y - row) ** 2 + (x - column) ** 2 < rng.uniform(0.05, 0.1)
    dark, light = rng.uniform(0, 90, 3), rng.uniform(150, 255, 3)
    image = np.where(shape[..., None], light, dark)
    image = image + rng.normal(0, 8, image.shape)
    return image.clip(0, 255).astype("uint8")


def save(path, pixels, kind):
    """Save an image as one of `KINDS`, the suffix included."""
    mode, suffix, options = KINDS[kind]
    image = Image.fromarray(pixels)
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype("uint16") * 257
        image = Image.fromarray(grey)
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = _TURN
        image, options = Image.fromarray(np.rot90(pixels)), {"exif": exif}
    elif mode == "P":
        image = image.quantize(64)
    elif mode == "RGBA":
        image.putalpha(255)
    else:
        image = image.convert(mode)
    path = path.with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


KINDS = {
    "color": ("RGB", ".jpg", {}),
    "grey": ("L", ".png", {}),
    "webp": ("RGB", ".webp", {}),
    "bitmap": ("RGB", ".bmp", {}),
    "opaque": ("RGBA", ".png", {}),
    "palette": ("P", ".png", {}),
    "turned": ("turned", ".jpg", {}),
    "deep": ("I;16", ".png", {}),
    "tiff": ("RGB", ".tif", {}),
}


def write(folder, count, seed=0, classes=CLASSES):
    """Write so many photographs of each class, of all kinds and many sizes."""
    rng = np.random.default_rng(seed)
    written = {}
    for name in classes:
        for index in range(count):
            size = rng.integers(60, 160, 2)
            path = folder / name / f"{index:03d}"
            kind = [*KINDS][index % len(KINDS)]
            written[save(path, draw(name, rng, size), kind)] = name
    return written
