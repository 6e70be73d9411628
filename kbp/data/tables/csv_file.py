"""A CSV file, by columns and by the places of its lines."""

import csv
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.formats.frames import checked
from kbp.data.tables.csv_records import CsvRecords, check_file
from kbp.data.tables.source import Source
from kbp.errors import UserError


class CsvSource(Source):
    """A CSV file, which is read once to find where its records are.

    Args:
        path: of the file.
        separator: see `CsvRecords`.
        encoding: likewise.

    Raises:
        UserError: the file is no such file, its lines differ in fields, or a
            column has the name of another.
    """

    def __init__(self, path: Path, separator: str, encoding: str):
        check_file(path)
        super().__init__(path)
        self.encoding = encoding
        starts, lines, widths = (array("q") for _ in range(3))
        records = CsvRecords(path, separator, encoding, starts)
        header: list[str] = []
        last = -1
        try:
            for place, (line, row) in enumerate(records):
                header = row if place == 0 else header
                lines.append(line)
                widths.append(len(row))
                last = place if any(row) else last
        except OverflowError as error:
            raise UserError(
                f"{path}: in the encoding {encoding}, data.cache must be "
                '"memory"; save the file as UTF-8.'
            ) from error
        if last < 0:
            raise UserError(f"{path}: is empty.")
        self.separator = records.separator
        held, width = np.array(widths)[1 : last + 1], len(header)
        kept = np.arange(1, last + 1)
        if width > 1:
            kept = kept[held > 0]
        else:
            held = np.maximum(held, 1)
        self.kept, self.lines = kept, np.array(lines)[kept]
        self.starts = np.array(starts)[kept]
        wrong = np.flatnonzero(held[kept - 1] != width)
        if len(wrong):
            raise UserError(
                f"{path}, line {self.lines[wrong[0]]}: has "
                f"{held[kept - 1][wrong[0]]} fields, the first line {width}."
            )
        self.count, self.width = len(kept), width
        empty = pd.DataFrame([[""] * width] * min(1, self.count), dtype=str)
        names = [name.strip() for name in header]
        self.names = [*checked(path, empty, names).columns]

    def whole(self, names: Iterable[str]) -> pd.DataFrame:
        wanted = [*names]
        places = [self.names.index(name) for name in wanted]
        kept = np.zeros(self.kept[-1] + 1, bool)
        kept[self.kept] = True
        records = CsvRecords(self.path, self.separator, self.encoding)
        fields = [
            [(row or [""])[i] for i in places]
            for (_, row), own in zip(records, kept, strict=False)
            if own
        ]
        self.check_same()
        frame = pd.DataFrame(fields, index=[*self.lines.tolist()], dtype=str)
        return frame.set_axis(wanted, axis="columns")

    def rows(self, indices: Any) -> pd.DataFrame:
        wanted = np.asarray(indices)
        found: list[list[str]] = [[]] * len(wanted)
        with self.path.open(encoding=self.encoding, newline="") as file:
            for place in np.argsort(wanted, kind="stable"):
                file.seek(int(self.starts[wanted[place]]))
                reader = csv.reader(
                    iter(file.readline, ""), delimiter=self.separator
                )
                found[place] = next(reader, []) or [""]
        self.check_same()
        lines = self.lines[wanted].tolist()
        frame = pd.DataFrame(found, index=lines, dtype=str)
        if not len(wanted):
            return pd.DataFrame(columns=self.names, dtype=str)
        return frame.set_axis(self.names, axis="columns")
