"""What a .tflite file says of itself, and what lies beside it."""

import tomllib
from pathlib import Path

from kbp._utils.run_files import CATEGORIES, COLUMNS, IMAGES, LABELS, SERIES
from kbp.errors import UserError
from kbp.export import Metadata
from kbp.export.metadata.archive import read_archive
from kbp.recipes import Recipe

_FILES = (LABELS, COLUMNS, SERIES, CATEGORIES, IMAGES)


def metadata_of(path: Path) -> Metadata | None:
    """Return what a file says of itself, if kbp described it.

    Args:
        path: of the .tflite file.

    Raises:
        UserError: its description is damaged.
    """
    try:
        return Metadata.read(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def recipe_of(metadata: Metadata | None) -> Recipe | None:
    """Return the recipe that a file says it was trained with, if it is known.

    It may name what another program has registered; then nothing is known.

    Args:
        metadata: of the file.
    """
    try:
        text = metadata.origin["recipe"] if metadata else ""
        return Recipe.parse(tomllib.loads(text)) if text else None
    except (AttributeError, KeyError, TypeError, UserError, ValueError):
        return None


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
