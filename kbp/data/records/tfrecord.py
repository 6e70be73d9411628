"""Images with classes in TFRecord files, as others write them."""

import io
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from kbp.data.cache import keep
from kbp.data.images.files import on_white
from kbp.data.images.limits import MOST_PIXELS
from kbp.data.images.resizing import RESIZE, RESIZES
from kbp.data.lazy import Lazy, ranges
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import SPLITS
from kbp.errors import UserError, nearest

_NAMED = re.compile(r"(?:^|[-_.])(train|validation|test)(?=$|[-_.])")
_CLASSES = ("labels.txt", "label.labels.txt")  # a name in each line
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_HEAD, _FOOT = 12, 4  # bytes before and after a record: lengths and checksums


@dataclass(frozen=True)
class Features:
    """Which features of a record are the example.

    Attributes:
        image: name of that of the image, a JPEG or PNG file.
        label: name of that of the class, a whole number from 0 on.
        size: height and width that images get.
        channels: 1 for grey, 3 for color.
    """

    image: str
    label: str
    size: int
    channels: int

    def parse(self, records: Sequence[bytes], where: str) -> dict[str, Any]:
        """Return the image files and the classes of some records.

        Raises:
            UserError: a record has no such features.
        """
        kinds = {
            self.image: tf.io.FixedLenFeature((), tf.string),
            self.label: tf.io.FixedLenFeature((), tf.int64),
        }
        try:
            found = tf.io.parse_example(np.array(records, object), kinds)
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            raise self._unfit(records, where) from error
        return {name: values.numpy() for name, values in found.items()}

    def _unfit(self, records: Sequence[bytes], where: str) -> UserError:
        for record in records:
            try:
                held = tf.train.Example.FromString(record).features.feature
            except Exception:  # whatever protobuf makes of other bytes
                return UserError(f"{where}: holds what is no tf.train.Example.")
            for key, name in (("image", self.image), ("label", self.label)):
                if name not in held:
                    return UserError(
                        f"{where}: data.{key}: no feature {name!r}"
                        f"{nearest(name, held)}"
                    )
        return UserError(
            f"{where}: {self.image!r} must be one image, and {self.label!r} "
            "one whole number."
        )


def is_folder(folder: Path) -> bool:
    """Say whether a folder holds TFRecord files."""
    return folder.is_dir() and any(_files(folder))


def load(folder: Path, features: Features) -> Splits:
    """Load images and classes from TFRecord files, read by number.

    The files are `train`, `test` and perhaps `validation`, as a word of their
    names. Every record is looked at once, and where it lies is kept.

    Args:
        folder: of the files, and perhaps of the classes' names in `labels.txt`.
        features: of the records.

    Raises:
        UserError: files are missing or damaged, or have other features.
    """
    files = _files(folder)
    splits = [_split_of(path) for path in files]
    for name in ("train", "test"):
        if name not in splits:
            raise UserError(
                f"{folder}: no TFRecord file has {name} as a word of its name, "
                "such as photos-train-00000-of-00008.tfrecord."
            )

    def read(notes: dict[str, Any]) -> Iterator[tuple[np.ndarray]]:
        notes["places"], notes["labels"] = [], []
        for path in files:
            places, labels = _indexed(path, features)
            notes["places"].append(places)
            notes["labels"].append(labels)
        images = _Images(files, notes["places"], features)
        for part in ranges(images):
            yield (images[part],)

    kept = keep(
        folder,
        files,
        {"tfrecord": vars(features)},
        read,
        lambda notes: [_Images(files, notes["places"], features)],
        on_disk=False,
    )
    owners = np.repeat(splits, [len(x) for x in kept.notes["labels"]])
    labels = np.concatenate([np.array(x) for x in kept.notes["labels"]])
    train, validation, test = (
        Examples(kept.arrays[0].view(own), labels[own])
        for own in (np.flatnonzero(owners == name) for name in SPLITS)
    )
    names = _class_names(folder, labels)
    return Splits(
        train, validation, test, names, remarks=kept.remarks, kept=kept.said
    )


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if ".tfrecord" in path.name and path.is_file()
    )


def _split_of(path: Path) -> str:
    found = _NAMED.findall(path.name)
    if len(set(found)) != 1:
        raise UserError(
            f"{path}: one word of its name must be train, validation or test."
        )
    return str(found[0])


def _class_names(folder: Path, labels: np.ndarray) -> tuple[str, ...]:
    count = int(labels.max()) + 1
    if labels.min() < 0:
        raise UserError(f"{folder}: a class is {labels.min()}, less than 0.")
    for name in _CLASSES:
        if (file := folder / name).is_file():
            names = tuple(file.read_text(encoding="utf-8-sig").split("\n"))
            names = tuple(x.strip() for x in names if x.strip())
            if len(names) < count:
                raise UserError(
                    f"{file}: names {len(names)} classes, and there are "
                    f"{count}."
                )
            return names
    return tuple(map(str, range(count)))


def _indexed(
    path: Path, features: Features
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return where a file's records are, with their lengths, and classes."""
    places: list[tuple[int, int]] = []
    labels: list[int] = []
    start = 0
    try:
        for batch in tf.data.TFRecordDataset(str(path)).batch(256):
            records = batch.numpy().tolist()
            for record in records:
                places.append((start + _HEAD, len(record)))
                start += _HEAD + len(record) + _FOOT
            found = features.parse(records, str(path))
            labels += found[features.label].tolist()
    except tf.errors.OpError as error:
        raise UserError(
            f"{path}: damaged, or no TFRecord file without compression, after "
            f"record {len(places)} or soon. Bring the file back, or unpack it."
        ) from error
    return places, labels


class _Images(Lazy):
    """The images of all files, one file's behind another's."""

    def __init__(
        self,
        files: Sequence[Path],
        places: Sequence[Sequence[tuple[int, int]]],
        features: Features,
    ):
        counts = [len(x) for x in places]
        size, channels = features.size, features.channels
        super().__init__((sum(counts), size, size, channels), "uint8")
        self.files, self.features = files, features
        self.owners = np.repeat(np.arange(len(files)), counts)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.places = np.array([x for one in places for x in one], "int64")

    def read(self, indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *self.shape[1:]), "uint8")
        with ThreadPoolExecutor() as pool:
            images[:] = [*pool.map(self._image, indices.tolist())]
        return images

    def _image(self, index: int) -> np.ndarray:
        path = self.files[self.owners[index]]
        where = f"{path}: record {index - self.starts[self.owners[index]]}"
        start, length = self.places[index].tolist()
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            record = file.read(length)
        found = self.features.parse([record], where)
        content = found[self.features.image][0]
        return _decoded(content, self.features, where)


def _decoded(content: bytes, features: Features, where: str) -> np.ndarray:
    mode, size = "L" if features.channels == 1 else "RGB", features.size
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.mode not in _MODES or np.prod(image.size) > MOST_PIXELS:
                raise ValueError(f"{image.size} pixels of mode {image.mode}")
            ImageOps.exif_transpose(image, in_place=True)
            fitted = RESIZES[RESIZE](
                on_white(image).convert(mode), (size, size)
            )
    except Exception as error:  # decoders raise any for a broken image
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{where}: its image cannot be read: {reason}") from (
            error
        )
    return np.asarray(fitted).reshape(size, size, features.channels)
