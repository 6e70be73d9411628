"""A CSV file, by columns and by the places of its lines."""

import csv
import itertools
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.formats.frames import checked
from kbp.data.tables.csv_records import CsvRecords, check_file
from kbp.data.tables.source import PART_ROWS, Source
from kbp.errors import UserError


class CsvSource(Source):
    """A CSV file, which is read once to find where its records are.

    Args:
        path: of the file.
        separator: see `CsvRecords`.
        encoding: likewise.
        by_row: whether `rows` is to be asked for, which takes two numbers of a
            row in memory.

    Raises:
        UserError: the file is no such file, its lines differ in fields, or a
            column has the name of another.
    """

    def __init__(
        self, path: Path, separator: str, encoding: str, *, by_row: bool = True
    ):
        check_file(path)
        super().__init__(path)
        self.encoding = encoding
        starts, self.starts, self.lines = (array("q") for _ in range(3))
        records = CsvRecords(
            path, separator, encoding, starts if by_row else None
        )
        header: list[str] = []
        wrong: tuple[int, int, int] | None = None
        found, last = 0, -1
        try:
            for place, (line, row) in enumerate(records):
                if place == 0:
                    header = row
                elif fields := _fields(row, len(header)):
                    if fields != len(header):
                        wrong = wrong or (place, line, fields)
                    found += 1
                    if by_row:
                        self.starts.append(starts[-1])
                        self.lines.append(line)
                if any(row):
                    last, self.count = place, found
                del starts[:-1]
        except OverflowError as error:  # no place of a record in the file
            with path.open(encoding=encoding, newline="") as file:
                first = file.readline()
            cause, cure = f"in the encoding {encoding}", "as UTF-8"
            if not first.endswith("\n"):
                cause = "with lines that end in a carriage return alone"
                cure = "with usual ends of lines"
            raise UserError(
                f'{path}: {cause}, data.cache must be "memory"; save the file '
                f"{cure}."
            ) from error
        if last < 0:
            raise UserError(f"{path}: is empty.")
        if wrong and wrong[0] <= last:
            raise UserError(
                f"{path}, line {wrong[1]}: has {wrong[2]} fields, the first "
                f"line {len(header)}."
            )
        self.separator, self.width = records.separator, len(header)
        empty = [[""] * self.width] * min(1, self.count)
        names = [name.strip() for name in header]
        frame = pd.DataFrame(empty, dtype=str)
        self.names = [*checked(path, frame, names).columns]

    def whole(self, names: Iterable[str]) -> pd.DataFrame:
        return pd.concat([*self.parts(names)])

    def parts(self, names: Iterable[str]) -> Iterator[pd.DataFrame]:
        wanted = [*names]
        places = [self.names.index(name) for name in wanted]
        records = CsvRecords(self.path, self.separator, self.encoding)
        held = (
            (line, row or [""])
            for line, row in itertools.islice(records, 1, None)
            if _fields(row, self.width)
        )
        rows = itertools.islice(held, self.count)
        while some := [*itertools.islice(rows, PART_ROWS)]:
            yield pd.DataFrame(
                [[row[i] for i in places] for _, row in some],
                index=[line for line, _ in some],
                columns=wanted,
                dtype=str,
            )
        self.check_same()

    def rows(self, indices: Any) -> pd.DataFrame:
        wanted = np.asarray(indices)
        found: list[list[str]] = [[]] * len(wanted)
        with self.path.open(encoding=self.encoding, newline="") as file:
            for place in np.argsort(wanted, kind="stable"):
                file.seek(self.starts[wanted[place]])
                reader = csv.reader(
                    iter(file.readline, ""), delimiter=self.separator
                )
                found[place] = next(reader, []) or [""]
        self.check_same()
        lines = [self.lines[place] for place in wanted]
        frame = pd.DataFrame(found, index=lines, dtype=str)
        if not len(wanted):
            return pd.DataFrame(columns=self.names, dtype=str)
        return frame.set_axis(self.names, axis="columns")


def _fields(row: list[str], width: int) -> int:
    """Return how many fields a record counts as having, 0 to pass it over."""
    return len(row) if width > 1 else max(1, len(row))
