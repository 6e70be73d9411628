"""A table's file, whose columns and rows are read when they are needed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from kbp._utils.machine import memory
from kbp.data.formats import frames
from kbp.errors import UserError

_PART, _CELL = 8, 100  # of the memory; bytes of a value that is text
PART_ROWS = 2**14


class Source(ABC):
    """A table in a file, of which parts are read as `frames.read_frame` does.

    Args:
        path: of the file.

    Attributes:
        names: of the columns.
        count: of the rows.
    """

    names: Sequence[str]
    count: int

    def __init__(self, path: Path):
        self.path, self._facts = path, _facts(path)

    def check_same(self) -> None:
        """Raise a UserError if the file has changed since it was opened."""
        if _facts(self.path) != self._facts:
            raise UserError(f"{self.path}: has changed since it was opened.")

    @abstractmethod
    def whole(self, names: Iterable[str]) -> pd.DataFrame:
        """Return all rows of some columns, by the numbers of their lines."""

    @abstractmethod
    def parts(self, names: Iterable[str]) -> Iterator[pd.DataFrame]:
        """Yield all rows of some columns, `PART_ROWS` or fewer at a time.

        Each part is as `whole` has its rows.
        """

    @abstractmethod
    def rows(self, indices: Any) -> pd.DataFrame:
        """Return some rows of all columns, in the order of the indices.

        Args:
            indices: integers `(n,)` from 0 on.

        Raises:
            UserError: the file has changed since it was opened.
        """


def _facts(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


class Columns:
    """The columns of a source, of which a few are in memory at a time.

    Args:
        path: of the file.
        source: of the columns.

    Attributes:
        missing: values that count as missing, by the name of a column.
    """

    def __init__(self, path: Path, source: Source):
        self.path, self.source = path, source
        self.missing: dict[str, Sequence[str]] = {}
        self.columns = pd.Index(source.names)
        self.held = pd.DataFrame()

    def __len__(self) -> int:
        return self.source.count

    def __getitem__(self, name: str) -> Any:
        if name not in self.held.columns:
            few = max(1, memory() // _PART // (_CELL * len(self)))
            first = [*self.columns].index(name)
            self.held = self.source.whole(self.columns[first : first + few])
        return frames.without(self.held[name], self.missing.get(name, ()))


Frame: TypeAlias = pd.DataFrame | Columns
