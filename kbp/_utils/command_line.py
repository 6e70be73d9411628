"""What commands and the tasks that they ask to predict share."""

import argparse
import os
from pathlib import Path

from rich.console import Console

from kbp._utils.files import check_place
from kbp.errors import UserError


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number, 1 or more: {text}"
        )
    return int(text)


def check_new(path: Path) -> None:
    """Refuse to write over a file, or below one.

    Raises:
        UserError: it is there.
    """
    if os.path.lexists(path):
        raise UserError(f"{path}: exists. Choose another --out.")
    try:
        check_place(path)
    except UserError as error:
        raise UserError(f"--out: {error}") from error


def say_written(console: Console, path: Path) -> None:
    """Say that a file was written, in one line whatever its name is."""
    console.print(
        f"Written: {path}", markup=False, highlight=False, soft_wrap=True
    )
