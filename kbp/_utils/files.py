"""Atomic writes: a file is replaced whole or not at all."""

import os
import tempfile
from pathlib import Path

from kbp.errors import UserError


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
        UserError: there can be no such file.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(pathlib.Path(folder) / "a.txt", "new")
    ...     path.read_text()
    'new'
    """
    path = Path(path)
    check_place(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}."
        )
    except OSError as error:  # such as of /proc, which looks like a folder
        raise UserError(
            f"{path}: cannot be written: {error.strerror}. Choose another "
            "folder."
        ) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        replace_durably(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def check_place(path: str | Path) -> None:
    """Refuse a path at which no file can be written, before work is done.

    Raises:
        UserError: it is a folder, or lies below what is none or may not be
            written to.

    Example:
    >>> check_place("there/is/no/such/folder/yet.txt")
    """
    path = Path(path)
    if path.is_dir():
        name = "an empty path" if path == Path() else str(path)
        raise UserError(f"{name}: is a folder. Name a file.")
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


def replace_durably(temporary: str | Path, path: str | Path) -> None:
    """Rename a finished file over another, and flush both to the disk."""
    os.chmod(temporary, 0o644)
    for name, directory in ((temporary, False), (Path(path).parent, True)):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not directory:
            os.replace(temporary, path)
