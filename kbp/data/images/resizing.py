"""How photographs become images of another size."""

from collections.abc import Callable
from typing import Any

from PIL import Image

Size = tuple[int, int]  # width and height, as Pillow has them
# A larger image is first reduced to about this many times its size by means of
# whole pixels, which is fast, and then to its size by weighted ones.
_GAP = 2.0


def _crop(image: Any, size: Size) -> Any:
    scale = min(own / new for own, new in zip(image.size, size, strict=True))
    left, top = (
        # Rounding may make nothing a little less than that.
        max(0.0, (own - scale * new) / 2)
        for own, new in zip(image.size, size, strict=True)
    )
    box = (left, top, image.width - left, image.height - top)
    return _resize(image, size, box)


def _pad(image: Any, size: Size) -> Any:
    scale = max(own / new for own, new in zip(image.size, size, strict=True))
    width, height = (max(1, round(own / scale)) for own in image.size)
    padded = Image.new(image.mode, size)
    place = ((size[0] - width) // 2, (size[1] - height) // 2)
    padded.paste(_resize(image, (width, height)), place)
    return padded


def _resize(
    image: Any, size: Size, box: tuple[float, ...] | None = None
) -> Any:
    bilinear = Image.Resampling.BILINEAR
    return image.resize(size, bilinear, box=box, reducing_gap=_GAP)


# How an image becomes one of another size.
RESIZES: dict[str, Callable[[Any, Size], Any]] = {
    "crop": _crop,
    "pad": _pad,
    "stretch": _resize,
}
RESIZE = "crop"
