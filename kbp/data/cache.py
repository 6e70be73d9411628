"""Where examples of files are, once they are decoded."""

import contextlib
import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbp._utils.files import (
    append,
    make_folder,
    new_folder,
    remove_folder,
    remove_unfinished,
    unused_name,
    write_atomically,
)
from kbp._utils.machine import memory, return_large_blocks
from kbp._utils.process.disk_errors import named
from kbp.data.lazy import Known, Lazy, digest
from kbp.errors import UserError

MODES = ("auto", "none", "memory", "disk")
_ABOUT, _DIGESTS, _DAY = "about.json", "digests.bin", 86_400.0
_FORMAT = 3  # of what is kept
_LOOKED_AT = 64  # examples that are compared with their digests at first
_ROOM = 1.1  # times what is needed, of a disk
# A part of all examples, read: for each array of them, a part.
Parts = Iterable[Sequence[np.ndarray]]


def choose(mode: str, held: int, size: int) -> str:
    """Return "none", "memory" or "disk", for "auto" by size.

    Args:
        mode: one of `MODES`.
        held: bytes of memory that the examples need if they are held there.
        size: bytes of the examples on a disk.
    """
    if mode != "auto":
        return mode
    if held <= memory() // 4:
        return "memory"
    place = root()
    while not place.exists():
        place = place.parent
    fits = size * _ROOM <= shutil.disk_usage(place).free
    return "disk" if fits else "none"


def root() -> Path:
    """Return the folder of what is kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "kbp" / "data"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder beside what is kept, for what is needed to make it."""
    folder = root() / unused_name()
    try:
        _make(folder)
        yield folder
    finally:
        remove_folder(folder)


def _make(folder: Path) -> None:
    with named(folder, "XDG_CACHE_HOME says where it is"):
        make_folder(folder)


@dataclass(frozen=True)
class Kept:
    """Examples that are not in memory.

    Attributes:
        arrays: of the examples.
        notes: what was seen when they were read for the first time.
        said: where they are, in a sentence.
        remarks: a sentence if the files have changed since they were kept.
    """

    arrays: tuple[Lazy, ...]
    notes: dict[str, Any]
    said: str
    remarks: tuple[str, ...]


def keep(
    folder: Path,
    files: Sequence[Path],
    settings: Mapping[str, Any],
    read: Callable[[dict[str, Any]], Parts],
    source: Callable[[dict[str, Any]], Sequence[Lazy]],
    *,
    on_disk: bool,
) -> Kept:
    """Return examples of files, all of which are read once.

    What is found then is kept for later runs, and on a disk their values are.
    Files of other names, sizes or times are read again.

    Args:
        folder: of the files, for messages.
        files: whose content the examples are.
        settings: what else they depend on, as JSON has it.
        read: `read(notes) -> parts` of all examples; it fills `notes`.
        source: `source(notes) -> arrays` that read from the files.
        on_disk: whether the examples' values are kept.

    Raises:
        UserError: a file cannot be read, or the disk does not take it.
    """
    return_large_blocks()
    own = {"disk": on_disk, "format": _FORMAT}
    told = json.dumps([str(folder.resolve()), {**settings, **own}])
    name, now = _hash([told]), _fingerprint(folder, files)
    place = root() / f"{name}-{now}"
    others = [x for x in root().glob(f"{name}-*") if x != place]
    remarks: tuple[str, ...] = ()
    if not (place / _ABOUT).is_file():
        _make(root())
        remove_unfinished(root(), older=_DAY)
        _write(place, read, on_disk)
        for other in others:  # now that the new one is whole
            remove_folder(other)
            remarks = (f"{folder}: has changed since it was last read.",)
    try:
        seal, text = (place / _ABOUT).read_text().split("\n")
        found = (place / _DIGESTS).read_bytes()
        if seal != _hash([text, found.hex()]):
            raise ValueError("not what was written")
    except (OSError, ValueError) as error:
        raise _damaged(place / _ABOUT) from error
    about = json.loads(text)
    notes, kinds = about["notes"], about["arrays"]
    if on_disk:
        arrays: Sequence[Lazy] = [
            _OnDisk(place / f"{i}.bin", tuple(shape), dtype, time)
            for i, (shape, dtype, time) in enumerate(kinds)
        ]
        size = sum(x.nbytes for x in arrays) / 1e9
        said = f"Decoded examples are kept on the disk ({size:,.1f} GB)."
    else:
        arrays = source(notes)
        said = "Examples are decoded from their files whenever they are needed."
    known = [Known(x, found) for x in arrays[:1]]
    if on_disk and known:
        _compare(place / "0.bin", known[0])
    return Kept((*known, *arrays[1:]), notes, said, remarks)


def _write(
    place: Path, read: Callable[[dict[str, Any]], Parts], on_disk: bool
) -> None:
    """Read all examples, and write what is kept of them."""
    notes: dict[str, Any] = {}
    shapes: list[tuple[list[int], str]] = []
    try:
        with new_folder(place) as folder:
            append(folder / _DIGESTS, b"")
            for parts in read(notes):
                count = len(parts[0])
                before = shapes[0][0][0] if shapes else 0
                shapes = [
                    ([before + count, *x.shape[1:]], x.dtype.str) for x in parts
                ]
                append(folder / _DIGESTS, b"".join(map(digest, parts[0])))
                for i, part in enumerate(parts if on_disk else ()):
                    append(folder / f"{i}.bin", np.ascontiguousarray(part).data)
            arrays = [
                (*kind, (folder / f"{i}.bin").stat().st_mtime_ns)
                for i, kind in enumerate(shapes if on_disk else ())
            ]
            text = json.dumps({"notes": notes, "arrays": arrays})
            digests = (folder / _DIGESTS).read_bytes()
            seal = _hash([text, digests.hex()])
            write_atomically(folder / _ABOUT, f"{seal}\n{text}")
    except UserError:
        if not (place / _ABOUT).is_file():  # another process was faster
            raise


def _compare(path: Path, known: Known) -> None:
    """Raise a UserError if some examples are not those that were kept."""
    for index in range(0, len(known), max(1, len(known) // _LOOKED_AT)):
        if digest(known[index]) != known.digest_of(index):
            raise _damaged(path)


def _hash(lines: Iterable[str]) -> str:
    """Return a hash of lines, which need not be in memory all at once."""
    found = hashlib.sha256()
    for number, line in enumerate(lines):
        text = f"\n{line}" if number else line
        found.update(text.encode("utf-8", "backslashreplace"))
    return found.hexdigest()[:16]


def _fingerprint(folder: Path, files: Iterable[Path]) -> str:
    """Return a hash of the names, sizes and times of files."""

    def lines() -> Iterator[str]:
        for path in files:
            yield os.path.relpath(path, folder)
            with contextlib.suppress(OSError):  # reading it says what is wrong
                facts = path.stat()
                yield f"{facts.st_size} {facts.st_mtime_ns}"

    return _hash(lines())


class _OnDisk(Lazy):
    """An array in a file, whose pages do not count as this process's memory."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: str, time: int
    ):
        super().__init__(shape, dtype)
        self.path = path
        try:
            self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _damaged(path) from error
        weakref.finalize(self, os.close, self.file)
        self.each = self.nbytes // max(1, len(self))
        facts = os.fstat(self.file)
        if (facts.st_size, facts.st_mtime_ns) != (self.nbytes, time):
            raise _damaged(self.path)

    def read(self, indices: np.ndarray) -> np.ndarray:
        found = np.empty((len(indices), *self.shape[1:]), self.dtype)
        bytes_of = found.reshape(len(indices), -1).view(np.uint8)
        for row, index in zip(bytes_of, indices.tolist(), strict=True):
            if os.preadv(self.file, [row.data], index * self.each) < self.each:
                raise _damaged(self.path)
        return found


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path}: is damaged. Delete {path.parent}, which is made again."
    )
