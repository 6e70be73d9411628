"""Texts that say what a model's numbers mean: class names, columns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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


class Texts:
    """The texts that lie beside a model's file, or that it holds.

    Args:
        model: path of the `.keras` or `.tflite` file.
    """

    def __init__(self, model: Path):
        self.model = model

    @cached_property
    def _held(self) -> dict[str, bytes]:
        if self.model.suffix != ".tflite":
            return {}
        try:
            return read_archive(self.model.read_bytes())
        except ValueError as error:
            raise UserError(
                f"{self.model}: its archive is damaged: {error}"
            ) from error

    def find(self, name: str) -> Text | None:
        """Return a text beside the file, else one that the file holds.

        Args:
            name: such as `"labels.txt"`.

        Raises:
            UserError: it cannot be read, or the archive of the file is damaged.
        """
        beside = self.model.parent / name
        if beside.is_file():
            place, content = str(beside), beside.read_bytes()
        elif name in self._held:
            place, content = f"{name} in {self.model}", self._held[name]
        else:
            return None
        try:
            # Editors of Windows begin a text with a byte order mark.
            return Text(place, content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{place}: cannot be read: {error}") from error
