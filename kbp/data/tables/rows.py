"""Rows of a table that are read when they are needed, as models take them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbp.data.cache import Parts, choose, keep
from kbp.data.formats.frames import MEMORY_OF_A_BYTE
from kbp.data.formats.table_rows import EncodedRows, encode
from kbp.data.lazy import Array, Lazy, ranges
from kbp.data.table import TableColumns
from kbp.data.tables.csv_file import CsvSource
from kbp.data.tables.parquet import ParquetSource
from kbp.data.tables.source import Columns, Source

_VALUE = 4  # bytes of a number as a model takes it


def where(path: Path, mode: str) -> str:
    """Return the mode that is meant, for "auto" by the file's size.

    Args:
        path: of the file.
        mode: one of `kbp.data.cache.MODES`.
    """
    size = path.stat().st_size if path.is_file() else 0
    # Which fits if its fields do, see `read_frame`.
    return choose(mode, size * MEMORY_OF_A_BYTE // _VALUE, size)


def opened(
    path: Path, separator: str, encoding: str, *, by_row: bool = True
) -> Source:
    """Return the source of a file, by its suffix.

    Args:
        path: see `read_frame`.
        separator: likewise.
        encoding: likewise.
        by_row: whether single rows are to be read, see `CsvSource`.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return ParquetSource(path)
    return CsvSource(path, separator, encoding, by_row=by_row)


class Rows(Lazy):
    """Rows of a source, encoded.

    Args:
        path: of the file, for errors.
        source: of the rows.
        columns: that models take.
        decimal: the decimal mark.
    """

    def __init__(
        self, path: Path, source: Source, columns: TableColumns, decimal: str
    ):
        super().__init__((source.count, len(columns.features)), "float32")
        self.path, self.source = path, source
        self.columns, self.decimal = columns, decimal

    def read(self, indices: np.ndarray) -> np.ndarray:
        if not len(indices):
            return np.empty((0, *self.shape[1:]), "float32")
        frame = self.source.rows(indices)
        return encode(
            self.path, frame, self.columns, decimal=self.decimal
        ).inputs


@dataclass(frozen=True)
class KeptRows:
    """All rows of a table as models take them.

    Attributes:
        inputs: float32 `(rows, columns)`.
        filled: how many missing numbers were filled in.
        said: where they are if they are not in memory, in a sentence.
        remarks: a sentence if the file has changed since they were kept.
    """

    inputs: Array
    filled: int
    said: str = ""
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: EncodedRows) -> "KeptRows":
        """Return those that are in memory."""
        return cls(rows.inputs, rows.filled)


def kept_rows(
    path: Path,
    frame: Columns,
    columns: TableColumns,
    decimal: str,
    mode: str,
    settings: dict[str, Any],
) -> "KeptRows":
    """Return the rows of a file, on the disk or read when they are needed.

    Args:
        path: of the file.
        frame: its columns.
        columns: that models take.
        decimal: the decimal mark.
        mode: "disk" or "none".
        settings: what else the rows depend on, as JSON has it.

    Raises:
        UserError: see `encode`, or the disk does not take them.
    """
    filled = 0
    for column in columns.features:  # by columns, as errors count their rows
        one = dataclasses.replace(columns, features=(column,))
        held = frame[column.name].to_frame()
        filled += encode(path, held, one, decimal=decimal).filled
    rows = Rows(path, frame.source, columns, decimal)

    def read(notes: dict[str, Any]) -> Parts:
        for part in ranges(rows):
            yield (rows[part],)

    kept = keep(
        path,
        [path],
        {**settings, "columns": columns.to_json(), "decimal": decimal},
        read,
        lambda _: [rows],
        on_disk=mode == "disk",
    )
    return KeptRows(kept.arrays[0], filled, kept.said, kept.remarks)
