"""Texts that say what a model's numbers mean: class names, columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kbp.errors import UserError
from kbp.export.metadata.archive import read_archive

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Text:
    """A text and where it was found.

    Attributes:
        place: path of the file, or its name and that of the model's file that
            holds it.
        content: the text.
    """

    place: str
    content: str

    def parsed(self, parse: Callable[[str], Parsed]) -> Parsed:
        """Return what a function makes of the text.

        Raises:
            UserError: the function did; the message names the place.
        """
        try:
            return parse(self.content)
        except UserError as error:
            raise UserError(f"{self.place}: {error}") from error


def find_text(model: Path, name: str) -> Text | None:
    """Return a text that lies beside a model's file, else that it holds.

    Args:
        model: path of the `.keras` or `.tflite` file.
        name: such as `"labels.txt"`.

    Raises:
        UserError: it cannot be read, or the archive of the file is damaged.
    """
    beside = model.parent / name
    if beside.is_file():
        place, content = str(beside), beside.read_bytes()
    elif model.suffix == ".tflite":
        place = f"{name} in {model}"
        try:
            held = read_archive(model.read_bytes(), [name])
        except ValueError as error:
            raise UserError(f"{model}: its archive is damaged: {error}") from (
                error
            )
        if name not in held:
            return None
        content = held[name]
    else:
        return None
    try:
        return Text(place, content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: cannot be read: {error}") from error
