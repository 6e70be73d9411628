"""The examples of a packing, read by number."""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kbp.data.array_files import read_arrays
from kbp.data.images.kinds import ImageKinds
from kbp.data.lazy import DIGEST_BYTES, Known, Lazy
from kbp.data.records.array_record import Reader
from kbp.data.records.index import DIGESTS, EXAMPLES, INDEX, Index, Shard
from kbp.data.records.places import local_copy
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import SPLITS
from kbp.errors import UserError


def load(folder: str | Path) -> Splits:
    """Return the splits of a packing, whose inputs stay on the disk.

    Args:
        folder: of the packing; or its address where TensorFlow finds it, such
            as `gs://bucket/folder`, from which it is copied into the cache of
            this machine first.

    Raises:
        UserError: a shard is missing, unfinished, damaged or of another
            packing.
    """
    place = local_copy(folder)
    index = read_index(place)
    index.check_finished(place)
    known = labels_and_names(place, index)
    digests = io.BytesIO(_checked(place / DIGESTS, index.content))
    train, validation, test = (
        _examples(place, index, name, known, digests) for name in SPLITS
    )
    return Splits(
        train,
        validation,
        test,
        class_names=index.class_names,
        remarks=index.remarks,
        images=ImageKinds.from_json(index.images) if index.images else None,
        kept=f"The examples are read from the shards in {place}.",
    )


def read_index(folder: Path) -> Index:
    """Return the index of a folder.

    Raises:
        UserError: it has none, or a wrong one.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(
            f"{folder}: holds no {INDEX}, so nothing that kbp pack has packed."
        )
    return Index.parse(path.read_bytes(), path)


class SplitReader:
    """The records of one split, over all of its shards.

    Args:
        folder: of the packing.
        index: of the packing.
        shards: of the split, which begin with one another's end.

    Raises:
        UserError: a shard is missing, damaged or in a wrong place.
    """

    def __init__(self, folder: Path, index: Index, shards: Sequence[Shard]):
        self.index, self.shards = index, shards
        self.starts = np.array([shard.first for shard in self.shards])
        self.readers = [opened(folder, shard) for shard in self.shards]
        for shard in self.shards:  # that none is in another's place
            self.rows(np.array([shard.first]))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return the records of some examples, as rows of the schema.

        Raises:
            UserError: one is damaged or of another packing; it is named.
        """
        kind = self.index.schema.record
        places = np.searchsorted(self.starts, numbers, side="right") - 1
        found = [b""] * len(numbers)
        for place in np.unique(places):
            own = np.flatnonzero(places == place)
            inside = numbers[own] - self.starts[place]
            records = self.readers[place].read(inside.tolist())
            for target, record in zip(own, records, strict=True):
                found[target] = record
        lengths = np.array([len(record) for record in found])
        if (lengths != kind.itemsize).any():
            self._refuse(numbers, places, lengths != kind.itemsize)
        rows = np.frombuffer(b"".join(found), kind)
        wrong = rows["number"] != numbers
        wrong |= rows["packing"] != self.index.packing
        if wrong.any():
            self._refuse(numbers, places, wrong)
        return rows

    def _refuse(
        self, numbers: np.ndarray, places: np.ndarray, wrong: np.ndarray
    ) -> None:
        first = np.flatnonzero(wrong)[0]
        reader = self.readers[places[first]]
        record = numbers[first] - self.starts[places[first]]
        raise UserError(
            f"{reader.path}: record {record} is of another packing, or another "
            "shard by this name. Bring back the file that was packed."
        )


def opened(folder: Path, shard: Shard) -> Reader:
    """Return the reader of a shard that is as long as it was.

    Raises:
        UserError: it is missing, or another.
    """
    path = folder / shard.name
    if not path.is_file():
        raise UserError(
            f"{path}: missing, though {INDEX} lists it. Bring the file back, "
            "or pack again."
        )
    size = path.stat().st_size
    if size != shard.size:
        raise UserError(
            f"{path}: has {size:,} bytes, and {shard.size:,} were packed. "
            "Bring the file back, or pack again."
        )
    reader = Reader(path)
    if len(reader) != shard.count:
        raise UserError(
            f"{path}: holds {len(reader):,} records, and {shard.count:,} were "
            "packed. Bring the file back, or pack again."
        )
    return reader


class Records(Lazy):
    """One array of the examples of a split.

    Args:
        reader: of the split.
        name: of the array, as the schema has it.
        count: of the examples.
    """

    def __init__(self, reader: SplitReader, name: str, count: int):
        array = getattr(reader.index.schema, name)
        super().__init__((count, *array.shape), array.dtype)
        self.reader, self.name = reader, name

    def read(self, indices: np.ndarray) -> np.ndarray:
        found = self.reader.rows(indices)[self.name]
        return np.ascontiguousarray(found, self.dtype)


def labels_and_names(folder: Path, index: Index) -> Mapping[str, np.ndarray]:
    """Return what is needed of all examples at once.

    Returns:
        Under `"<split>.labels"` classes or numbers, if labels are no masks; and
        under `"<split>.names"` the bytes of names with a zero between them, if
        examples have any.

    Raises:
        UserError: the file is missing or has changed.
    """
    path = folder / EXAMPLES
    _checked(path, index.digest)
    return read_arrays(path)


def _checked(path: Path, sha256: str) -> bytes:
    """Return the content of a file that is what it was."""
    if not path.is_file():
        raise UserError(
            f"{path}: missing, though it was packed. Bring the file back, or "
            "pack again."
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: changed since it was packed. Bring the file back, or "
            "pack again."
        )
    return content


def _examples(
    folder: Path,
    index: Index,
    split: str,
    known: Mapping[str, np.ndarray],
    digests: io.BytesIO,
) -> Examples:
    count = index.counts[split]
    reader = SplitReader(folder, index, index.of(split))
    labels = known.get(f"{split}.labels")
    names: Sequence[bytes] = ()
    if f"{split}.names" in known:
        names = known[f"{split}.names"].tobytes().split(b"\0")
    return Examples(
        Known(
            Records(reader, "inputs", count), digests.read(count * DIGEST_BYTES)
        ),
        Records(reader, "labels", count) if labels is None else labels,
        tuple(map(os.fsdecode, names)),
    )
