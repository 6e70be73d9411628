"""Reads columns of series, and makes rows at equal distances of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.checks import suspicions
from kbp.data.formats import frames, grid
from kbp.data.formats.grid import Rows
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.series_files import times
from kbp.data.series_files.group import Group, Lines
from kbp.data.tables.source import Frame
from kbp.errors import UserError

FILLED = "missing values filled in"
EMPTY_AT_END = "rows at the end without values to forecast from, left out"
SHOWN_IN_UTC = (
    "times with offsets that are shown in UTC, as they are not all alike; a "
    "time_zone shows local ones"
)
CUT = "times with parts of a microsecond, which are cut off"


@dataclass(frozen=True)
class Series:
    """Rows of one series.

    Attributes:
        name: what the id column holds; `""` if there is none.
        times: of the rows, dates or numbers; row numbers if there is no column
            for them.
        values: to forecast, float64 `(rows, targets)`.
        past: covariates that are known of the past, `(rows, ...)`.
        future: those that are known ahead, `(rows + ahead, ...)`, NaN where a
            later one is missing.
        static: ones and zeros of its categories, `(...,)`.
    """

    name: str
    times: "pd.Index[Any]"
    values: np.ndarray
    past: np.ndarray
    future: np.ndarray
    static: np.ndarray


class SeriesReader:
    """Reads files of one format.

    Attributes:
        names: of the columns to forecast, as the first file has them.
        counts: how often a rule was followed.
        warnings: sentences about columns that are probably something else.
        seen: the numbers of columns of which `say` makes sentences.
    """

    def __init__(self, path: Path, form: SeriesFormat):
        self.path, self.form = path, form
        self.paths = [path]
        self.names: tuple[str, ...] = ()
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []
        self.seen: dict[str, suspicions.Sentinels] = {}

    def frame(
        self, path: Path, raw: Frame, ahead: bool = False
    ) -> pd.DataFrame:
        """Return a file's columns, named by what they are and their names.

        Args:
            path: of the file.
            raw: its columns.
            ahead: whether it holds later rows, so covariates alone.
        """
        if not ahead:
            self.names = self.form.target or self.others(raw.columns)
        found = self.part(path, raw, ahead)
        self.say(path)
        return found

    def part(self, path: Path, raw: Frame, ahead: bool = False) -> pd.DataFrame:
        """Return some of a file's rows, see `frame`; `say` what they were."""
        form = self.form
        read: dict[str, Any] = {}
        if form.time_column:
            column = frames.find_column(path, raw, form.time_column)
            moments = times.parse(path, column, form.date_format)
            self.count(CUT, times.count_cut(moments, column))
            if not form.time_zone:
                self.count(
                    SHOWN_IN_UTC, times.count_shown_in_utc(moments, column)
                )
            read["time"] = moments
        if form.id_column:
            column = frames.find_column(path, raw, form.id_column)
            read["id"] = _named(path, column).to_numpy()
        for name in () if ahead else form.static:
            column = frames.find_column(path, raw, name)
            frames.check_formulas(path, column)
            text = column.fillna("").astype(str).str.strip()
            read[f"static {name}"] = text.to_numpy()
        known = (*self.names, *form.past_covariates) if not ahead else ()
        for name in (*known, *form.future_covariates):
            column = frames.find_column(path, raw, name)
            if pd.api.types.is_bool_dtype(column):
                column = column.astype("float64")
            column = frames.without(column, form.missing_values)
            values = frames.numbers(path, column, decimal=form.decimal)
            seen = self.seen.setdefault(name, suspicions.Sentinels())
            seen.add(column.index, values)
            read[f"value {name}"] = values
        lines = raw[raw.columns[0]].index
        return pd.DataFrame({**read, "file": int(ahead), "line": lines})

    def say(self, path: Path) -> None:
        """Add to `warnings` what the columns of all parts look like."""
        for name, seen in self.seen.items():
            self.warnings += seen.sentences(path, name)
        self.seen = {}

    def joined(self, frame: pd.DataFrame, later: Path) -> pd.DataFrame:
        """Return a file's rows and the later ones of another file."""
        raw = read_file(later, self.form)
        more = self.frame(later, raw, ahead=True)
        self.paths.append(later)
        if self.form.time_column and more["time"].dtype != frame["time"].dtype:
            raise UserError(
                f"{later}: its times are of another kind than those of "
                f"{self.path}, as {frame['time'].iloc[0]}"
            )
        if self.form.id_column:  # of other series nothing is forecast
            more = more[more["id"].isin(frame["id"])]
        return pd.concat([frame, more], ignore_index=True)

    def others(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that are nothing else than values to forecast."""
        form, names = self.form, [*columns]
        if "" in names:
            raise UserError(
                f"{self.path}: column {names.index('') + 1} has no name. Say "
                "which columns hold values."
            )
        used = {form.time_column, form.id_column, *form.static}
        used |= {*form.past_covariates, *form.future_covariates}
        found = tuple(name for name in names if name not in used)
        if not found:
            raise UserError(f"{self.path}: holds no values.")
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of values: those to forecast come first."""
        form = self.form
        return (*self.names, *form.past_covariates, *form.future_covariates)

    def groups(self, frame: pd.DataFrame) -> Iterator[tuple[str, Group]]:
        """Yield each series' name and rows, in the order of the first ones.

        Args:
            frame: see `frame`.
        """
        values = frame[[f"value {name}" for name in self.columns]].to_numpy()
        whole = Group(
            Lines(self.paths, *frame[["file", "line"]].to_numpy().T),
            pd.Index(frame["time"]) if self.form.time_column else None,
            values,
            {x: frame[f"static {x}"].to_numpy() for x in self.form.static},
        )
        if not self.form.id_column:
            yield "", whole
            return
        codes, names = pd.factorize(frame["id"])
        order = np.argsort(codes, kind="stable")
        whole = whole.take(order)
        ends = np.cumsum(np.bincount(codes))
        for name, begin, end in zip(names, [0, *ends], ends, strict=False):
            yield str(name), whole.take(slice(begin, end))

    def static(self, name: str, group: Group) -> dict[str, str]:
        """Return the category of a series in each static column."""
        found = {}
        for column, values in group.static.items():
            found[column] = values[0]
            known = pd.notna(values)  # later rows have none
            wrong = known & (values != found[column])
            for row in np.flatnonzero(wrong)[:1]:
                raise UserError(
                    f"{group.places[row]}: {column!r} is {values[row]!r}, and "
                    f"{found[column]!r} before in the same series {name!r}; a "
                    "static column is constant."
                )
        return found

    def series(self, name: str, group: Group, static: np.ndarray) -> Series:
        """Return one series at equal distances, without gaps."""
        form, moments = self.form, group.times
        count = pd.RangeIndex(len(group.values))
        rows = Rows(count, group.values, group.places)
        if moments is None:
            moments = rows.times
        if not form.future_covariates:  # else they are the rows ahead
            end = self.known_rows(rows)
            self.count(EMPTY_AT_END, len(moments) - end)
            rows, moments = rows.part(slice(end)), moments[:end]
        if form.time_column:
            rows = self.regular(rows, moments)
        count = self.known_rows(rows)
        end = len(self.names) + len(form.past_covariates)
        whose = f"series {name!r}: " if name else ""
        try:
            values, filled = grid.filled(
                rows.part(slice(count)), form.missing, self.columns
            )
        except UserError as error:
            raise UserError(f"{self.path}: {whose}{error}") from error
        self.count(FILLED, filled)
        return Series(
            name,
            rows.times[:count],
            values[:, : len(self.names)],
            values[:, len(self.names) : end],
            np.concatenate([values[:, end:], rows.values[count:, end:]]),
            static,
        )

    def regular(self, rows: Rows, moments: "pd.Index[Any]") -> Rows:
        """Return rows at equal distances in time."""
        form = self.form
        kept = np.full(len(moments), True)
        if form.time_zone:
            moments, kept = times.in_zone(moments, form.time_zone, self.counts)
        rows = Rows(moments, rows.values[kept], rows.places[kept])
        if not len(moments):
            raise UserError(f"{self.path}: holds no times that ever were.")
        grid.check_rising(rows)
        if not form.resample:
            return grid.regular(rows)
        rows = self.whole_steps(rows)
        self.count(f"rows averaged over {form.resample}", len(rows.times))
        return grid.resampled(rows, form.resample)

    def whole_steps(self, rows: Rows) -> Rows:
        """Leave out what is known of the first or last step in part only."""
        form, targets = self.form, len(self.names)
        known = np.flatnonzero(~np.isnan(rows.values[:, :targets]).all(axis=1))
        first, last = grid.rows_of_partial_steps(
            rows.times[known], form.resample
        )
        if first + last >= len(known):
            return rows
        self.count(
            f"steps of {form.resample} at an end with part of their rows"
            ", left out",
            bool(first) + bool(last),
        )
        begin = known[first] if first else 0
        if last and form.future_covariates:  # the step is the first one ahead
            rows.values[
                known[-last] :, : targets + len(form.past_covariates)
            ] = np.nan
            last = 0
        return rows.part(slice(begin, known[-last] if last else None))

    def known_rows(self, rows: Rows) -> int:
        """Return how many rows there are up to the last that has a target."""
        targets = rows.values[:, : len(self.names)]
        known = np.flatnonzero(~np.isnan(targets).all(axis=1))
        return int(known[-1]) + 1 if len(known) else len(rows.values)

    def count_strangers(
        self,
        chosen: Iterable[Mapping[str, str]],
        categories: Mapping[str, Sequence[str]],
    ) -> None:
        """Count series of categories that are none of the known ones."""
        for values in chosen:
            for column, known in categories.items():
                if values[column] not in known:
                    self.count(
                        f"series of the unknown {column} {values[column]!r}, "
                        "which counts as none",
                        1,
                    )

    def count(self, what: str, number: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + number


def read_file(path: Path, form: SeriesFormat) -> pd.DataFrame:
    """Read a file's columns into memory."""
    return frames.read_frame(
        path, separator=form.separator, encoding=form.encoding
    )


def _named(path: Path, column: "pd.Series[Any]") -> "pd.Series[str]":
    """Return the ids of rows, all of which must have one."""
    text = column.fillna("").astype(str).str.strip()
    for row in np.flatnonzero(text == "")[:1]:
        raise UserError(
            f"{path}, line {column.index[row]}: has nothing in the id_column "
            f"{column.name!r}."
        )
    return text
