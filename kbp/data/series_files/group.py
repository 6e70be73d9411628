"""Rows of one series as a file has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Lines:
    """Where rows were read, such as `"load.csv, line 3"`, as errors show it.

    Attributes:
        paths: of the files.
        files: which of them each row is of, `(rows,)`.
        lines: of the rows.
    """

    paths: Sequence[Path]
    files: np.ndarray
    lines: np.ndarray

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, int | np.integer):
            path = self.paths[self.files[which]]
            return f"{path}, line {self.lines[which]}"
        return Lines(self.paths, self.files[which], self.lines[which])


@dataclass(frozen=True)
class Group:
    """Rows of one series as a file has them.

    Attributes:
        places: where each was read.
        times: of the rows; `None` if there is no column for them.
        values: `(rows, columns)`, NaN where one is missing.
        static: categories of each static column, `(rows,)`.
    """

    places: Lines
    times: "pd.Index[Any] | None"
    values: np.ndarray
    static: Mapping[str, np.ndarray]

    def take(self, which: Any) -> "Group":
        """Return some of the rows."""
        return Group(
            self.places[which],
            None if self.times is None else self.times[which],
            self.values[which],
            {name: values[which] for name, values in self.static.items()},
        )
