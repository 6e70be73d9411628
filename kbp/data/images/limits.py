"""What an image file may ask for before anything of it is decoded."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kbp.errors import UserError

MOST_PIXELS = 110_000_000  # of one image: those of the largest cameras
_MOST_BYTES = 350_000_000  # of one file, which may be in memory twice
_MOST_BYTES_OF_PLAIN = 700_000_000  # of what is read in parts
_PLAIN = (b"BM", b"II", b"MM")  # how BMP and TIFF files begin
_MOST_AT_ONCE = 40_000_000  # pixels that threads decode at a time
# Pillow's decoder of these is a loop in Python.
_MOST_PIXELS_OF_RLE = 10_000_000
_MOST_SCANNED = 3_000_000_000  # pixels, over all scans of a JPEG file
_TILE = (322, 323)  # TIFF's tags of a tile's width and height
_START_OF_SCAN = b"\xff\xda"


def check_file(path: Path) -> None:
    """Raise a UserError if a path is of no file, or of one that is too large.

    Reading a pipe or a device may have no end.
    """
    if not path.is_file():
        raise UserError(f"{path}: cannot be read: it is no file.")
    size = path.stat().st_size
    with path.open("rb") as file:
        plain = file.read(2) in _PLAIN
    most = _MOST_BYTES_OF_PLAIN if plain else _MOST_BYTES
    if size > most:
        raise UserError(
            f"{path}: has {size:,} bytes; at most {most:,} are read."
        )


def count_pages(raw: Any) -> int:
    """Return how many pages an image of Pillow's has, up to 2.

    Those of cameras' JPEG files are previews, and for the other eye.
    """
    if raw.format == "MPO":
        return 1
    if raw.format != "TIFF":
        return min(2, getattr(raw, "n_frames", 1))
    try:
        raw.seek(1)  # there may be very many, which `n_frames` would count
    except EOFError:
        return 1
    raw.seek(0)
    return 2


def check_image(path: Path, raw: Any, most_pixels: int = MOST_PIXELS) -> None:
    """Raise a UserError if an image is too large to decode.

    Args:
        path: of the file, for messages.
        raw: of Pillow's, opened and not decoded.
        most_pixels: that it may have.
    """
    width, height = raw.size
    check_pixels(path, width, height, most_pixels)
    if raw.format == "TIFF":
        tile = [raw.tag_v2.get(tag, 1) for tag in _TILE]
        check_pixels(path, *(x if isinstance(x, int) else 1 for x in tile))
    kinds = {tile[0] for tile in raw.tile}
    if "bmp_rle" in kinds and width * height > _MOST_PIXELS_OF_RLE:
        raise UserError(
            f"{path}: has {width}x{height} pixels in run lengths; at most "
            f"{_MOST_PIXELS_OF_RLE:,} are read."
        )
    if raw.format in ("JPEG", "MPO") and raw.info.get("progressive"):
        scans = path.read_bytes().count(_START_OF_SCAN)
        if scans * width * height > _MOST_SCANNED:
            raise UserError(
                f"{path}: has {width}x{height} pixels in {scans:,} scans, "
                "which would take too long."
            )


def check_pixels(
    path: Path, width: int, height: int, most: int = MOST_PIXELS
) -> None:
    """Raise a UserError if an image has too many pixels.

    Args:
        path: of the file, for messages.
        width: in pixels.
        height: likewise.
        most: of pixels.
    """
    if width * height > most:
        raise UserError(
            f"{path}: has {width}x{height} pixels; at most {most:,} are read."
        )


class Budget:
    """Lets threads have only so many pixels at a time."""

    def __init__(self, most: int = _MOST_AT_ONCE):
        self.most, self.used = most, 0
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def spend(self, pixels: int) -> Iterator[None]:
        """Wait until there is room; an image that needs all has all.

        Args:
            pixels: that are in memory until the context ends.
        """
        pixels = min(pixels, self.most)
        with self.changed:
            self.changed.wait_for(lambda: self.used + pixels <= self.most)
            self.used += pixels
        try:
            yield
        finally:
            with self.changed:
                self.used -= pixels
                self.changed.notify_all()


BUDGET = Budget()
