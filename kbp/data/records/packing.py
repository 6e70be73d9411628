"""Packing the examples of a data set into shards."""

import dataclasses
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kbp._utils.arguments import check_integer
from kbp._utils.files import (
    is_unfinished,
    new_file,
    remove_unfinished,
    write_atomically,
)
from kbp._utils.machine import versions
from kbp._utils.manifest import digest
from kbp._utils.process.lock import locked
from kbp.data.lazy import Array as Values
from kbp.data.lazy import chunks
from kbp.data.records import array_record
from kbp.data.records.index import DIGESTS, EXAMPLES, INDEX, LOCK, Index, Shard
from kbp.data.records.reading import Records, SplitReader
from kbp.data.records.schema import KINDS, Array, Moments, Schema
from kbp.data.splits import Examples, Splits, as_floats
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

SHARDS = 8


def pack(
    splits: Splits,
    folder: str | Path,
    *,
    shards: int | None = None,
    source: str = "",
    said: Callable[[str], None] = lambda sentence: None,
) -> Index:
    """Write examples into shards, from which they are read by number.

    A packing that was stopped goes on where it was: shards that are whole are
    kept. Every shard is read again before it takes its place.

    Args:
        splits: images, and classes or masks for them.
        folder: gets the shards and `index.json`.
        shards: of the training examples, by default `SHARDS`, or one for each
            if they are fewer; others are about as large.
        source: where the examples come from, as a recipe's `[data]`.
        said: receives a sentence for each shard.

    Returns:
        What was packed.

    Raises:
        UserError: the examples are of another kind, the folder holds something
            else, or the disk does not take it.
        ValueError: another argument is of another kind.

    Example:
    >>> import tempfile
    >>> import numpy as np
    >>> from kbp.data import Examples, Splits, records
    >>> few = Examples(np.zeros((6, 4, 4, 3), "uint8"), np.arange(6) % 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     index = records.pack(
    ...         Splits(few, few, few, ("cat", "dog")), folder, shards=2
    ...     )
    >>> [shard.name for shard in index.of("train")]
    ['train-00000-of-00002.array_record', 'train-00001-of-00002.array_record']
    """
    _check_arguments(folder, shards, source, said)
    folder = Path(folder)
    _check_kind(splits)
    if shards is None:
        shards = min(SHARDS, len(splits.train))
    if shards > len(splits.train):
        raise UserError(
            f"{shards:,} shards are more than the {len(splits.train):,} "
            "training examples. Choose fewer."
        )
    known = _known(splits)
    index = _plan(splits, shards, source, hashlib.sha256(known).hexdigest())
    _check_free(folder)
    with locked(folder / LOCK):
        remove_unfinished(folder)
        if (file := folder / INDEX).exists():
            found = Index.parse(file.read_bytes(), file)
            if found.plan() != index.plan():
                raise UserError(
                    f"{folder}: holds another packing: its "
                    f"{found.differences(index)} differ. Choose another folder."
                )
            index = found
        else:
            index.write(folder)
        kept = _kept(folder, index, splits)
        write_atomically(folder / EXAMPLES, known)
        for shard in index.shards:
            path = folder / shard.name
            if path not in kept:
                shard = _write(path, index, shard, getattr(splits, shard.split))
                index = dataclasses.replace(index.with_shard(shard), content="")
                index.write(folder)
            said(
                f"{shard.name}: {shard.count:,} examples"
                + (", kept" if path in kept else "")
            )
        if not index.content:
            digests = _digests(folder, index)
            write_atomically(folder / DIGESTS, digests)
            content = hashlib.sha256(digests).hexdigest()
            index = dataclasses.replace(index, content=content)
            index.write(folder)
    return index


def _digests(folder: Path, index: Index) -> bytes:
    """Return the digests of all inputs, in the order of the shards."""
    return b"".join(
        digest
        for split in SPLITS
        for digest in Records(
            SplitReader(folder, index, index.of(split)),
            "inputs",
            index.counts[split],
        ).digests()
    )


def _check_arguments(
    folder: object, shards: object, source: object, said: object
) -> None:
    if shards is not None:
        check_integer(shards=shards)
    for name, value, fits, kind in (
        ("folder", folder, isinstance(folder, str | Path), "a path"),
        ("source", source, isinstance(source, str), "text"),
        ("said", said, callable(said), "a function of a sentence"),
    ):
        if not fits:
            raise ValueError(
                f"Argument `{name}` must be {kind}. Received: {name}={value!r}"
            )


def _check_kind(splits: Splits) -> None:
    if type(splits) is not Splits or splits.train.inputs.ndim < 2:
        raise UserError(
            "images with classes or masks are packed; these are "
            f'{type(splits).__name__}: data.cache = "disk" keeps rows of '
            "tables and series on the disk"
        )


def _check_free(folder: Path) -> None:
    """Refuse a folder that holds other files."""
    if not folder.exists() or (folder / INDEX).exists():
        return
    if not folder.is_dir() or any(
        not is_unfinished(path) and path.name != LOCK
        for path in folder.iterdir()
    ):
        raise UserError(
            f"{folder}: is not empty, and holds no packing. Choose another "
            "folder."
        )


def _plan(splits: Splits, shards: int, source: str, known: str) -> Index:
    parts = {name: getattr(splits, name) for name in SPLITS}
    planned = []
    for name, part in parts.items():
        count = -(-len(part) * shards // len(splits.train))
        borders = [len(part) * i // count for i in range(count)] + [len(part)]
        planned += [
            Shard(
                f"{name}-{i:05d}-of-{count:05d}.array_record",
                name,
                borders[i],
                borders[i + 1] - borders[i],
            )
            for i in range(count)
        ]
    return Index(
        packing=int.from_bytes(secrets.token_bytes(7)),  # exact in JSON
        schema=Schema(
            *(
                _array([getattr(part, name) for part in parts.values()])
                for name in ("inputs", "labels")
            )
        ),
        counts={name: len(part) for name, part in parts.items()},
        shards=tuple(planned),
        class_names=splits.class_names,
        remarks=splits.remarks,
        images=splits.images.to_json() if splits.images else "",
        digest=known,
        content="",
        source=source,
        versions=versions(),
    )


def _array(parts: list[Values]) -> Array:
    """Return how arrays are stored: in bytes where these lose nothing."""
    dtype = np.dtype(parts[0].dtype)
    if dtype.kind not in KINDS:
        raise UserError(f"arrays of {dtype} are no numbers that can be packed")
    # Floats that are bytes become bytes for good, which `Examples` knows.
    given = np.dtype("uint8") if dtype.kind == "f" else dtype
    fits = dtype != np.uint8 and all(
        np.array_equal(_given(_in_bytes(chunk), dtype), chunk)
        for part in parts
        for chunk in chunks(part)
    )
    kinds = (given, np.dtype("uint8")) if fits else (dtype, dtype)
    return Array(tuple(parts[0].shape[1:]), *(kind.name for kind in kinds))


def _in_bytes(values: np.ndarray) -> np.ndarray:
    """Return values as bytes, those of 0 to 1 in 255 steps."""
    if values.dtype.kind == "f":
        values = (values.clip(0, 1) * 255).round()
    return values.astype("uint8")


def _given(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return as_floats(values) if dtype.kind == "f" else values.astype(dtype)


def _known(splits: Splits) -> bytes:
    """Return the content of the file of labels and names."""
    held: dict[str, Any] = {}
    for name in SPLITS:
        part = getattr(splits, name)
        if part.labels.ndim == 1:
            held[f"{name}.labels"] = np.asarray(part.labels)
        if part.names:
            names = b"\0".join(map(os.fsencode, part.names))
            held[f"{name}.names"] = np.frombuffer(names, "uint8")
    content = io.BytesIO()
    np.savez_compressed(content, **held)
    return content.getvalue()


def _write(path: Path, index: Index, shard: Shard, examples: Examples) -> Shard:
    """Write a shard, read it again, and return what is known of it then."""
    written, read = hashlib.sha256(), hashlib.sha256()
    moments: list[Moments] = []

    def records() -> Iterator[bytes]:
        for rows in _rows(index, shard, examples):
            moments.append(Moments.of(rows["inputs"]))
            for row in rows:
                record = row.tobytes()
                written.update(record)
                yield record

    with new_file(path) as temporary:
        array_record.write(temporary, records())
        reader = array_record.Reader(temporary)
        for numbers in index.schema.parts(0, len(reader)):
            for record in reader.read(numbers):
                read.update(record)
        if read.digest() != written.digest():
            raise UserError(
                f"{path}: the disk gives back other bytes than were written."
            )
        return dataclasses.replace(
            shard,
            size=temporary.stat().st_size,
            sha256=digest(temporary),
            moments=sum(moments[1:], moments[0]),
        )


def _kept(folder: Path, index: Index, splits: Splits) -> set[Path]:
    """Return the shards that are whole.

    Raises:
        UserError: one holds other examples than there are now.
    """
    found = set()
    for shard in index.shards:
        path = folder / shard.name
        if path.is_file() and digest(path) == shard.sha256:
            _check_same(path, index, shard, getattr(splits, shard.split))
            found.add(path)
    return found


def _check_same(
    path: Path, index: Index, shard: Shard, examples: Examples
) -> None:
    reader = array_record.Reader(path)
    for rows, numbers in zip(
        _rows(index, shard, examples),
        index.schema.parts(0, shard.count),
        strict=True,
    ):
        if rows.tobytes() != b"".join(reader.read(numbers)):
            raise UserError(
                f"{path}: holds other examples than the recipe gives now, "
                "whose files have changed. Choose another folder."
            )


def _rows(
    index: Index, shard: Shard, examples: Examples
) -> Iterator[np.ndarray]:
    """Yield a shard's records as rows, some at a time."""
    for numbers in index.schema.parts(shard.first, shard.count):
        rows = np.zeros(len(numbers), index.schema.record)
        rows["packing"], rows["number"] = index.packing, numbers
        for name, array in vars(index.schema).items():
            values = getattr(examples, name)[numbers.start : numbers.stop]
            narrow = array.stored == "uint8"
            rows[name] = _in_bytes(values) if narrow else values
        yield rows
