"""Images and their masks, whole or in tiles, that are not in memory."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kbp.data.cache import Kept, Parts, keep
from kbp.data.images.files import read_image, read_mask
from kbp.data.images.kinds import ImageFacts, ImageKinds
from kbp.data.images.paths import Pair, PathPairs, Paths
from kbp.data.lazy import Lazy
from kbp.data.tiles import cut
from kbp.errors import UserError


def check_sizes(
    pair: Pair, x: np.ndarray, y: np.ndarray, first: tuple[Path, np.ndarray]
) -> None:
    """Raise a UserError if a mask or an image has another size than it must.

    Args:
        pair: the files, for messages.
        x: the image.
        y: the mask.
        first: an image of the size that all must have, and its file.
    """
    image, mask = pair
    if x.shape[:2] != y.shape:
        raise UserError(
            f"{mask}: is of {_size(y)} pixels, but {image} of {_size(x)}."
        )
    if x.shape != first[1].shape:
        raise UserError(
            f"{image}: is of {_size(x)} pixels, but {first[0]} of "
            f"{_size(first[1])}. Set data.tile_size to mix them."
        )


def in_tiles(array: np.ndarray, tile_size: int | None) -> np.ndarray:
    """Return an array as the tiles of it; without a size it is the only one."""
    return array[None] if tile_size is None else cut(array, tile_size)


class Pairs:
    """Pairs of files, read one after the other.

    Args:
        paths: of the files.
        channels: 1 to read images as grey, 3 as color.
        white_level: value of white in images of more than 8 bits.
        tile_size: height and width of tiles; `None` for whole images.
    """

    def __init__(
        self,
        paths: PathPairs,
        *,
        channels: int,
        white_level: int,
        tile_size: int | None,
    ):
        self.paths, self.white_level = paths, white_level
        self.channels, self.tile_size = channels, tile_size

    def keep(self, images: Path, masks: Path, *, on_disk: bool) -> Kept:
        """Return images and masks' values, once every file was read.

        Both are bytes if all fit into them. The notes are `kinds`, the
        `ImageKinds` as text; `tiles`, the number of each image's; and `values`,
        those that each mask holds.

        Args:
            images: folder of the images.
            masks: folder of the masks.
            on_disk: whether they are kept, decoded; else they are decoded anew
                whenever they are needed.

        Raises:
            UserError: a file cannot be read or has a wrong size, or the disk
                does not take them.
        """
        files = Paths(path for pair in self.paths for path in pair)
        settings = {
            "masks": str(masks.resolve()),
            "channels": self.channels,
            "white_level": self.white_level,
            "tile_size": self.tile_size,
        }
        for narrow in (True, False):
            kept = keep(
                images,
                files,
                {**settings, "narrow": narrow},
                partial(self.read, narrow=narrow),
                partial(self.sources, narrow=narrow),
                on_disk=on_disk,
            )
            if kept.notes["fits"]:
                break
        return kept

    def read(self, notes: dict[str, Any], narrow: bool) -> Parts:
        """Yield the tiles of each image and its mask."""
        facts: list[ImageFacts] = []
        notes |= {"fits": True, "tiles": [], "values": []}
        first = None
        for pair in self.paths:
            x, fact = read_image(pair[0], self.channels, self.white_level)
            y = read_mask(pair[1])
            first = (pair[0], x) if self.tile_size or not first else first
            check_sizes(pair, x, y, first)
            facts.append(fact)
            notes["values"].append(np.unique(y).tolist())
            if narrow:
                found = _as_bytes(x, y)
                if not found:
                    notes["fits"] = False
                    return
                x, y = found
            parts = [in_tiles(array, self.tile_size) for array in (x, y)]
            notes["tiles"].append(len(parts[0]))
            yield parts
        notes["kinds"] = ImageKinds.of(facts, self.white_level).to_json()

    def sources(self, notes: dict[str, Any], narrow: bool) -> list[Lazy]:
        """Return what reads the tiles of images, and those of masks."""

        def image(pair: Pair) -> np.ndarray:
            x, _ = read_image(pair[0], self.channels, self.white_level)
            return _bytes_of(x) if narrow else x

        def mask(pair: Pair) -> np.ndarray:
            y = read_mask(pair[1])
            return y.astype("uint8") if narrow else y

        if not notes["fits"]:
            return []
        return [_Tiles(self, notes["tiles"], x) for x in (image, mask)]


class _Tiles(Lazy):
    """Tiles of files; each file is decoded once for all that are read of it."""

    def __init__(
        self,
        pairs: Pairs,
        counts: Sequence[int],
        decode: Callable[[Pair], np.ndarray],
    ):
        self.pairs, self.decode = pairs, decode
        self.ends = np.cumsum(counts)
        one = in_tiles(decode(pairs.paths[0]), pairs.tile_size)
        super().__init__((int(self.ends[-1]), *one.shape[1:]), one.dtype)

    def read(self, indices: np.ndarray) -> np.ndarray:
        found = np.empty((len(indices), *self.shape[1:]), self.dtype)
        of_file = np.searchsorted(self.ends, indices, side="right")
        for file in np.unique(of_file):
            whole = self.decode(self.pairs.paths[file])
            tiles = in_tiles(whole, self.pairs.tile_size)
            here = of_file == file
            try:
                first = self.ends[file] - len(tiles)
                found[here] = tiles[indices[here] - first]
            except (IndexError, ValueError) as error:
                image, mask = self.pairs.paths[file]
                raise UserError(
                    f"{image} or {mask}: has another size than before."
                ) from error
        return found


def _as_bytes(
    x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return an image and a mask as bytes, if they lose nothing by that."""
    pixels = _bytes_of(x)
    exact = np.array_equal(pixels / np.float32(255), x)
    if not exact or y.min() < 0 or y.max() > 255:
        return None
    return pixels, y.astype("uint8")


def _bytes_of(x: np.ndarray) -> np.ndarray:
    return (x * np.float32(255)).round().astype("uint8")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
