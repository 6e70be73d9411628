"""Which files a folder held, so that a lost or changed one is named."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, *, without: Collection[str]) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder by its name in there.

    Args:
        folder: path of the folder.
        without: names of files and folders in it that are left out, as are
            hidden ones.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder)
    ...     _ = (path / "a.txt").write_text("a")
    ...     [*digests(path, without=())], compare(path, {"b.txt": "0"})
    (['a.txt'], (['b.txt'], []))
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        first, *_ = parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and first not in without:
            found["/".join(parts)] = digest(path)
    return found


def compare(
    folder: Path, expected: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the names of the files that are missing, and of those changed.

    Args:
        folder: path of the folder.
        expected: SHA-256 of each file by its name in the folder.
    """
    missing, changed = [], []
    for name, content in expected.items():
        path = folder / name
        if not path.is_file():
            missing.append(name)
        elif digest(path) != content:
            changed.append(name)
    return missing, changed
