"""Rows of a series file, parsed, in scratch files of a few series each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp._utils.files import append, remove
from kbp.data.formats.series_reader import SHOWN_IN_UTC, SeriesReader
from kbp.data.tables.source import Source
from kbp.errors import UserError

GROUP_ROWS = 2**16  # of a scratch file, more if a series has more
_UTC = pd.DatetimeTZDtype("us", "UTC")


class UnlikeError(Exception):
    """The parts of a column are wrong, or not of one kind."""


class Numbering:
    """Numbers of texts, from 0 on in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, texts: np.ndarray) -> np.ndarray:
        """Return the number of each text."""
        places, different = pd.factorize(texts)
        known = self.known
        numbers = [known.setdefault(text, len(known)) for text in different]
        return np.array(numbers, int)[places]


class Spool:
    """The rows of a file, which are read and parsed once, part by part.

    Args:
        reader: of the file, whose counts and warnings are filled.
        source: of its columns.
        folder: for the scratch files.

    Attributes:
        series: names of the series, in the order in which the file has them.
        categories: of each static column.

    Raises:
        UnlikeError: something is wrong with a column, and only all of it
            tells what.
    """

    def __init__(self, reader: SeriesReader, source: Source, folder: Path):
        form = reader.form
        self.reader, self.folder = reader, folder
        self.series = Numbering()
        self.categories = {name: Numbering() for name in form.static}
        self.columns = [f"value {name}" for name in reader.columns]
        self.row = np.dtype(
            [
                *((name, "i8") for name in ("line", "series", "time")),
                ("static", "i8", (len(form.static),)),
                ("values", "f8", (len(self.columns),)),
            ]
        )
        self.sizes: list[int] = []
        self.kinds: list[Any] = []  # of the times of each part
        counts = np.zeros(0, int)
        for raw in source.parts(self._wanted(source)):
            rows = self._rows(raw)
            append(folder / "rows", rows)
            found = np.bincount(rows["series"], minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
        reader.say(reader.path)
        self.kind = self._kind()
        self.groups = (np.cumsum(counts) - counts) // GROUP_ROWS
        self._distribute()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the rows of some series each, see `SeriesReader.frame`."""
        for group in np.unique(self.groups):
            rows = np.fromfile(self.folder / f"{group}", self.row)
            yield self._frame(rows)

    def _wanted(self, source: Source) -> list[str]:
        form = self.reader.form
        used = {form.time_column, form.id_column, *form.static}
        used |= {*self.reader.columns}
        return [name for name in source.names if name in used]

    def _rows(self, raw: pd.DataFrame) -> np.ndarray:
        """Return the rows of a part in a layout of a fixed size."""
        try:
            part = self.reader.part(self.reader.path, raw)
        except UserError as error:
            raise UnlikeError from error
        rows = np.zeros(len(part), self.row)
        rows["line"], kind = part["line"], None
        if "time" in part:
            moments = pd.Index(part["time"])
            rows["time"], kind = _bits(moments), moments.dtype
        self.kinds.append(kind)
        self.sizes.append(len(part))
        if "id" in part:
            rows["series"] = self.series.of(part["id"].to_numpy())
        for place, (name, known) in enumerate(self.categories.items()):
            rows["static"][:, place] = known.of(
                part[f"static {name}"].to_numpy()
            )
        rows["values"] = part[self.columns].to_numpy()
        return rows

    def _kind(self) -> Any:
        """Return the dtype of all times; those of several offsets are UTC's."""
        different = {*self.kinds}
        if len(different) == 1:
            return different.pop()
        if all(isinstance(kind, pd.DatetimeTZDtype) for kind in different):
            elsewhere = [
                size
                for size, kind in zip(self.sizes, self.kinds, strict=True)
                if str(kind.tz) != "UTC"
            ]
            if not self.reader.form.time_zone:
                self.reader.count(SHOWN_IN_UTC, sum(elsewhere))
            return _UTC
        if different <= {np.dtype("i8"), np.dtype("f8")}:
            return np.dtype("f8")
        raise UnlikeError

    def _distribute(self) -> None:
        """Put the rows of each group of series into a file of its own."""
        file = self.folder / "rows"
        with file.open("rb") as source:
            for size, kind in zip(self.sizes, self.kinds, strict=True):
                rows = np.frombuffer(
                    source.read(size * self.row.itemsize), self.row
                ).copy()
                if kind != self.kind and self.kind == np.dtype("f8"):
                    rows["time"] = rows["time"].astype("f8").view("i8")
                groups = self.groups[rows["series"]]
                for group in np.unique(groups):
                    append(self.folder / f"{group}", rows[groups == group])
        remove(file)

    def _frame(self, rows: np.ndarray) -> pd.DataFrame:
        """Return rows as `SeriesReader.frame` does."""
        found: dict[str, Any] = {}
        if self.kind is not None:
            found["time"] = _times(rows["time"], self.kind)
        if self.reader.form.id_column:
            names = np.array([*self.series.known], object)
            found["id"] = names[rows["series"]]
        for place, (name, known) in enumerate(self.categories.items()):
            texts = np.array([*known.known], object)
            found[f"static {name}"] = texts[rows["static"][:, place]]
        values = pd.DataFrame(rows["values"], columns=self.columns)
        frame = pd.DataFrame({**found, "file": 0, "line": rows["line"]})
        return pd.concat([frame, values], axis=1)


def _bits(times: "pd.Index[Any]") -> np.ndarray:
    """Return times as integers, which `_times` reads."""
    if isinstance(times, pd.DatetimeIndex):
        return times.asi8
    return times.to_numpy().view("i8")


def _times(bits: np.ndarray, kind: Any) -> "pd.Index[Any]":
    bits = np.ascontiguousarray(bits)
    if isinstance(kind, np.dtype) and kind.kind in "iuf":
        return pd.Index(bits.view(kind))
    dates = pd.DatetimeIndex(bits.view("M8[us]"))
    zone = getattr(kind, "tz", None)
    return dates.tz_localize("UTC").tz_convert(zone) if zone else dates
