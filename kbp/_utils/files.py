"""Atomic writes: a file is replaced whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file beside its place, then rename it there.

    At every moment, also if the process is killed, the path holds the old file
    or the new one, never a part.

    Args:
        path: path of the file; missing folders are made.
        content: the whole content.

    Returns:
        The path.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(pathlib.Path(folder) / "a.txt", "new")
    ...     path.read_text()
    'new'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}."
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        replace_durably(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


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
