"""Atomic writes: files and folders are replaced whole or not at all.

Everything that kbp leaves on a disk is written here, so what can go wrong with
a disk is a line of one kind, and is tried in one place.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kbp._utils.process.disk_errors import FULL, cannot_write, named
from kbp.errors import UserError

# What is being written; a name of one length, for a file's may be the longest.
_PREFIX = ".kbp-"
_UNFINISHED = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{12}}")
# What file systems answer that cannot flush a folder, or not show it.
_NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file beside its place, then rename it there.

    At every moment, also if the process is killed, the path holds the old file
    or the new one, never a part.

    Args:
        path: path of the file; missing folders are made.
        content: the whole content.

    Returns:
        The path.

    Raises:
        UserError: there can be no such file, or the disk does not take it.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(pathlib.Path(folder) / "a.txt", "new")
    ...     path.read_text()
    'new'
    """
    (path,) = write_together({path: content})
    return path


def write_together(contents: Mapping[Any, bytes | str]) -> list[Path]:
    """Write files that belong together, see `write_atomically`.

    All of them lie on the disk before the first takes its place, so that a full
    disk leaves the old ones.

    Args:
        contents: of each file, by its path.

    Returns:
        The paths.

    Raises:
        UserError: there can be no such file, or the disk does not take it.
    """
    paths = [Path(path) for path in contents]
    written: list[Path] = []
    try:
        for path, content in zip(paths, contents.values(), strict=True):
            check_place(path)
            with named(path):
                make_folder(path.parent)
                written.append(path.parent / unused_name())
                _write(written[-1], _as_bytes(content))
        for temporary, path in zip(written, paths, strict=True):
            with named(path):
                os.replace(temporary, path)
                _flush(path.parent)
    except BaseException:
        for temporary in written:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise
    return paths


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes its place when the context ends well.

    Args:
        path: where it will be, and where nothing is yet.

    Raises:
        UserError: there can be no such folder, or the disk does not take it.
    """
    check_place(path)
    temporary = path.parent / unused_name()
    try:
        with named(path):
            make_folder(path.parent)
            temporary.mkdir()
            yield temporary
            for file in [*temporary.rglob("*"), temporary]:
                _flush(file)
            os.rename(temporary, path)
            _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield where to write a file that takes its place as the context ends.

    It is for what a library writes by itself, piece by piece.

    Args:
        path: where it will be, in place of what is there.

    Raises:
        UserError: there can be no such file, or the disk does not take it.
    """
    check_place(path)
    temporary = path.parent / unused_name()
    try:
        with named(path):
            make_folder(path.parent)
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def temporary_folder(prefix: str = "kbp-") -> Iterator[Path]:
    """Yield a folder for what is needed within the context alone.

    Args:
        prefix: of its name.

    Raises:
        UserError: the disk does not take what is written there.
    """
    try:
        with tempfile.TemporaryDirectory(
            prefix=prefix, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        full = [os.strerror(code) for code in FULL]
        if not any(words in str(error) for words in full):
            raise
        raise cannot_write(
            f"{tempfile.gettempdir()} ($TMPDIR), temporary files", error
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if it is not there."""
    path.mkdir(parents=True, exist_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, whole or not at all where the disk is full.

    A process that is killed may leave a part of it.

    Args:
        path: of the file; missing folders are made.
        line: without its end.

    Raises:
        UserError: there can be no such file, or the disk does not take it.
    """
    check_place(path)
    with named(path):
        make_folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        before = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, _as_bytes(f"{line}\n"))
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
        finally:
            os.close(descriptor)


def append(path: Path, content: Any) -> None:
    """Append bytes to a file of a folder that takes its place later.

    Args:
        path: of the file, in a `new_folder`.
        content: bytes, or what has them as `memoryview` takes it.
    """
    with named(path), path.open("ab", buffering=0) as file:
        _write_all(file.fileno(), memoryview(content).cast("B"))


def cut_unfinished_line(path: Path) -> None:
    """Cut off what a process that was killed left of a file's last line."""
    with named(path), path.open("rb+") as file:
        *_, last = file.read().rpartition(b"\n")
        if last:
            file.seek(-len(last), os.SEEK_END)
            file.truncate()


def remove_unfinished(folder: Path, older: float = 0.0) -> None:
    """Remove what killed processes were writing into a folder.

    Args:
        folder: which no other process writes to.
        older: seconds that it lies there at least, where others may write.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_unfinished(path) and is_older(path, older):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_older(path: Path, seconds: float) -> bool:
    """Say whether nothing was put into a folder for some time."""
    try:
        return time.time() - path.stat().st_mtime >= seconds
    except OSError:  # it is gone
        return False


def remove_folder(path: Path) -> None:
    """Remove a folder that can be made again, and all it holds."""
    shutil.rmtree(path, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Say whether a path is what is being written, or was."""
    return bool(_UNFINISHED.fullmatch(path.name))


def check_place(path: str | Path) -> None:
    """Refuse a path at which no file can be written, before work is done.

    Raises:
        UserError: it is a folder or a device, or lies below what is no folder
            or may not be written to.

    Example:
    >>> check_place("there/is/no/such/folder/yet.txt")
    """
    path = Path(path)
    with named(path):
        _check_place(path)


def _check_place(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = stat.S_IFREG
    except ValueError as error:  # a NUL byte
        raise UserError(f"{str(path)!r}: no name of a file: {error}") from error
    if stat.S_ISDIR(kind):
        name = "an empty path" if path == Path() else str(path)
        raise UserError(f"{name}: is a folder. Name a file.")
    if not stat.S_ISREG(kind):
        raise UserError(f"{path}: is a device or a pipe. Name a file.")
    above = next(folder for folder in path.parents if os.path.lexists(folder))
    if not above.is_dir():
        raise UserError(
            f"{path}: cannot be written: {above} is no folder. Choose another."
        )
    if not os.access(above, os.W_OK):
        raise UserError(
            f"{path}: cannot be written: {above} may not be written to. Choose "
            "another folder."
        )


def unused_name() -> str:
    """Return a name, by all chance new, that `is_unfinished` knows."""
    return f"{_PREFIX}{secrets.token_hex(6)}"


def _as_bytes(content: bytes | str) -> bytes:
    # Names of files may hold bytes that are no text.
    if isinstance(content, str):
        return content.encode("utf-8", errors="backslashreplace")
    return content


def _write(path: Path, data: bytes) -> None:
    """Write a new file, and flush it to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)  # less what the umask takes
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: Any) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush(path: Path) -> None:
    """Flush a file or the names in a folder to the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def copy(source: Path, path: Path) -> Path:
    """Write a copy of a file, see `write_atomically`."""
    return write_atomically(path, source.read_bytes())


def remove(path: Path) -> None:
    """Remove a file or a link, but nothing that a link leads to.

    Raises:
        UserError: the disk does not let it go.
    """
    with named(path):
        path.unlink(missing_ok=True)
