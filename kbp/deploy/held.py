"""Texts that say what the numbers of a .tflite file mean."""

from pathlib import Path

from kbp._utils.run_files import CATEGORIES, COLUMNS, IMAGES, LABELS, SERIES
from kbp.errors import UserError
from kbp.export.metadata.archive import read_archive

_FILES = (LABELS, COLUMNS, SERIES, CATEGORIES, IMAGES)


def files_of(path: Path) -> dict[str, str]:
    """Return what a file holds at its end, else what lies beside it.

    Args:
        path: of the .tflite file.

    Returns:
        Texts by the names of files that say what numbers mean.

    Raises:
        UserError: the archive is damaged, or a file is no text.
    """
    found = {
        name: path.parent / name
        for name in _FILES
        if (path.parent / name).is_file()
    }
    contents = {name: file.read_bytes() for name, file in found.items()}
    contents |= _held(path)
    try:
        return {name: text.decode() for name, text in contents.items()}
    except UnicodeDecodeError as error:
        names = ", ".join(contents)
        raise UserError(
            f"{path}: {names} in it or beside it: cannot be read: {error}"
        ) from error


def _held(path: Path) -> dict[str, bytes]:
    """Return the files of the archive that a .tflite file may end with."""
    try:
        return read_archive(path.read_bytes(), _FILES)
    except ValueError as error:
        raise UserError(f"{path}: its archive is damaged: {error}") from error
