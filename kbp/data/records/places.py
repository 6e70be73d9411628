"""Packings that lie where only TensorFlow finds them, such as in buckets."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from kbp._utils.files import make_folder, new_file, write_atomically
from kbp._utils.process.disk_errors import named
from kbp._utils.process.lock import locked
from kbp.data.cache import root
from kbp.data.records.index import DIGESTS, EXAMPLES, INDEX, LOCK, Index
from kbp.errors import UserError, looked_for

_AT_ONCE = 2**24  # bytes that are copied


def local_copy(folder: str | Path) -> Path:
    """Return the folder of a packing on this machine.

    array_record opens local files alone, so others are copied once, into the
    cache, and checked against the index.

    Args:
        folder: a path, or an address such as `gs://bucket/folder`.

    Raises:
        UserError: there is no packing, or no room for it.
    """
    address = os.fspath(folder).rstrip("/")
    scheme, separator, path = address.partition("://")
    if not separator or scheme == "file":
        place = Path(path if separator else folder)
        if not place.is_dir():
            kind = "is no folder" if place.exists() else "no such folder"
            raise UserError(f"{place}: {kind}{looked_for(place)}.")
        return place
    content = b"".join(_pieces(f"{address}/{INDEX}"))
    index = Index.parse(content, f"{address}/{INDEX}")
    index.check_finished(address)
    copy = root() / f"{index.packing:014x}"
    with locked(copy / LOCK):
        wanted = {s.name: (s.size, s.sha256) for s in index.shards}
        _check_room(copy, sum(size for size, _ in wanted.values()))
        for name, (size, sha256) in wanted.items():
            file = copy / name
            if not (file.is_file() and file.stat().st_size == size):
                _copy(f"{address}/{name}", file, sha256)
        for name, sha256 in (
            (EXAMPLES, index.digest),
            (DIGESTS, index.content),
        ):
            _copy(f"{address}/{name}", copy / name, sha256)
        write_atomically(copy / INDEX, content)
    return copy


def _check_room(folder: Path, needed: int) -> None:
    with named(folder):
        make_folder(folder)
        held = sum(file.stat().st_size for file in folder.iterdir())
        free = shutil.disk_usage(folder).free
    if needed - held > free:
        raise UserError(
            f"{folder}: the disk has {free / 1e9:,.1f} GB left, and the copy "
            f"needs {(needed - held) / 1e9:,.1f} GB. Set XDG_CACHE_HOME to a "
            "folder with more room."
        )


def _copy(address: str, path: Path, sha256: str) -> None:
    found = hashlib.sha256()
    with new_file(path) as temporary:
        with temporary.open("wb") as file:
            for piece in _pieces(address):
                found.update(piece)
                file.write(piece)
        if found.hexdigest() != sha256:
            raise UserError(
                f"{address}: changed since it was packed. Bring it back, or "
                "pack again."
            )


def _pieces(address: str) -> Iterator[bytes]:
    try:
        with tf.io.gfile.GFile(address, "rb") as file:
            while piece := file.read(_AT_ONCE):
                yield piece
    except tf.errors.OpError as error:
        raise UserError(
            f"{address}: cannot be read: {error.message}"
        ) from error
