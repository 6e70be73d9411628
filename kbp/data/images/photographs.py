"""Photographs of any size and kind, read at one size."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kbp._utils.machine import memory
from kbp.data.cache import Parts, choose, keep
from kbp.data.images.files import (
    decode,
    is_wide,
    largest_of_halved,
    on_white,
    wide_values,
)
from kbp.data.images.kinds import (
    WHITE_LEVEL,
    ImageFacts,
    ImageKinds,
    is_colored,
)
from kbp.data.images.quiet import quiet
from kbp.data.images.resizing import RESIZE, RESIZES, Size
from kbp.data.images.wrong import refuse, said_of_wrong
from kbp.data.lazy import Array, Lazy, ranges
from kbp.errors import UserError

# Images in memory: the array, TensorFlow's copy, and those for test as floats.
_COPIES = 3
_CHUNK = 32  # images that are read to find the wrong ones alone


def read_photographs(
    paths: Sequence[Path],
    size: tuple[int, int],
    *,
    channels: int = 3,
    resize: str = RESIZE,
    white_level: int = WHITE_LEVEL,
    facts: list[ImageFacts] | None = None,
    wrong: dict[Path, UserError] | None = None,
) -> np.ndarray:
    """Read images at one size, several at a time.

    An image is turned as its EXIF data say, laid on white where it is not
    opaque, and made grey or of three colors with 8 bits each. More than 8
    bits count from black to `white_level`.

    Args:
        paths: of the files.
        size: height and width, in pixels.
        channels: 1 for grey, 3 for color.
        resize: `"crop"`: the largest part of the right proportions about the
            center; `"pad"`: all of it, between black borders; `"stretch"`: all
            of it, out of proportion. Pixels are averaged as the size asks.
        white_level: value of white in images of more than 8 bits.
        facts: a list that gets what the values of each file are.
        wrong: a dictionary that gets what is wrong with files, whose images
            then mean nothing; without it, that is an error.

    Returns:
        Bytes `(images, height, width, channels)`.

    Raises:
        UserError: a file cannot be read; the message names the first few.

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
    found: list[ImageFacts | None] = [None] * len(paths)

    def read(index: int) -> UserError | None:
        try:
            with ExitStack() as hold:
                image, bits, largest = _open(
                    paths[index],
                    (size[1], size[0]),
                    channels,
                    white_level,
                    hold,
                )
                image = RESIZES[resize](image, (size[1], size[0]))
        except UserError as error:
            return error
        except MemoryError:
            return UserError(f"{paths[index]}: does not fit into the memory.")
        pixels = np.asarray(image).reshape(images.shape[1:])
        images[index] = pixels
        found[index] = ImageFacts(
            bits, is_colored(pixels), largest or int(pixels.max())
        )
        return None

    with quiet(), ThreadPoolExecutor() as pool:
        results = [*pool.map(read, range(len(paths)))]
    unread = {p: e for p, e in zip(paths, results, strict=True) if e}
    if wrong is not None:
        wrong |= unread
    elif unread:
        raise UserError(said_of_wrong(unread))
    if facts is not None:
        facts += [each for each in found if each]
    return images


class Photographs(Lazy):
    """Images of files, decoded when they are asked for.

    Args:
        paths: of the files.
        size: height and width, in pixels.
        channels: 1 for grey, 3 for color.
        resize: see `read_photographs`.
        white_level: likewise.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        *,
        channels: int,
        resize: str,
        white_level: int,
    ):
        super().__init__((len(paths), *size, channels), "uint8")
        self.paths, self.white_level = paths, white_level
        self.settings: dict[str, Any] = {
            "size": size,
            "channels": channels,
            "resize": resize,
            "white_level": white_level,
        }

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.look(indices)

    def look(
        self,
        indices: Iterable[int],
        facts: list[ImageFacts] | None = None,
        wrong: dict[Path, UserError] | None = None,
    ) -> np.ndarray:
        """Return some images, and what else `read_photographs` finds."""
        paths = [self.paths[index] for index in indices]
        more: dict[str, Any] = {"facts": facts, "wrong": wrong}
        return read_photographs(paths=paths, **self.settings, **more)

    def find_wrong(self) -> dict[Path, UserError]:
        """Return what is wrong with files."""
        wrong: dict[Path, UserError] = {}
        for first in range(0, len(self), _CHUNK):
            several = range(first, min(first + _CHUNK, len(self)))
            self.look(several, None, wrong)
        return wrong

    def hold(
        self, folder: Path, places: Mapping[str, Sequence[int]], mode: str
    ) -> tuple[dict[str, Array], "Seen"]:
        """Return the images of each split, once every file was decoded.

        Args:
            folder: of the files, for messages.
            places: indices of the images of each split.
            mode: one of `kbp.data.cache.MODES`.

        Raises:
            UserError: files cannot be read, the disk does not take them, or
                they are to be in memory and would fill half of it.
        """
        kinds = ImageKinds(self.white_level, {}, self.settings["resize"])
        wrong: dict[Path, UserError] = {}

        def look(indices: Sequence[int]) -> np.ndarray:
            nonlocal kinds
            facts: list[ImageFacts] = []
            images = self.look(indices, facts, wrong)
            kinds += ImageKinds.of(facts, self.white_level)
            return images

        mode = choose(mode, _COPIES * self.nbytes, self.nbytes)
        if mode == "memory":
            self.check_memory(folder)
            # One split at a time, so that no image is twice in memory.
            held: dict[str, Array] = {k: look(v) for k, v in places.items()}
            refuse([], wrong)
            return held, Seen(kinds)

        def read(notes: dict[str, Any]) -> Parts:
            for part in ranges(self):
                yield (look(range(part.start, part.stop)),)
            refuse([], wrong)
            notes["kinds"] = kinds.to_json()

        kept = keep(
            folder,
            self.paths,
            self.settings,
            read,
            lambda _: [self],
            on_disk=mode == "disk",
        )
        (images,) = kept.arrays
        kinds = ImageKinds.from_json(kept.notes["kinds"])
        views: dict[str, Array] = {k: images.view(v) for k, v in places.items()}
        return views, Seen(kinds, kept.said, kept.remarks)

    def check_memory(self, folder: Path) -> None:
        """Raise a UserError if the images would fill half of the memory."""
        needed, half = _COPIES * self.nbytes, memory() // 2
        if needed > half:
            count, height, width, channels = self.shape
            fits = int((half / (_COPIES * count * channels)) ** 0.5)
            raise UserError(
                f"{folder}: {count:,} images of {height}x{width} pixels need "
                f"{needed / 1e9:,.1f} GB, and half of the memory is "
                f"{half / 1e9:,.1f} GB. Set data.image_size to at most {fits}, "
                'or data.cache to "disk".'
            )


@dataclass(frozen=True)
class Seen:
    """What was seen of images as they were read.

    Attributes:
        kinds: what they are.
        said: where they are if they are not in memory, in a sentence.
        remarks: a sentence if files have changed since they were kept.
    """

    kinds: ImageKinds
    said: str = ""
    remarks: tuple[str, ...] = ()


def _open(
    path: Path, size: Size, channels: int, white_level: int, hold: ExitStack
) -> tuple[Any, int, int]:
    """Return an image of 8 bits, the bits of its file, and its largest value.

    The latter is 0 where it is that of the image.
    """
    mode, bits, largest = "L" if channels == 1 else "RGB", 8, 0
    image = decode(path, draft=(mode, size), hold=hold)
    if is_wide(image):
        values = wide_values(path, image, white_level)
        bits, largest = 16, int(values.max())
        scaled = np.arange(white_level + 1) * (255 / white_level)
        image = Image.fromarray(scaled.round().astype("uint8")[values])
    elif largest := largest_of_halved(path, image, white_level):
        bits = 16
    image = on_white(image)
    if image.mode != mode:
        image = image.convert(mode)
    return image, bits, largest
