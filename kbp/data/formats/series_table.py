"""Series in files: columns of numbers, at equal distances in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.formats import covariates, frames, grid, times
from kbp.data.formats.grid import Rows
from kbp.data.formats.series_format import SeriesFormat
from kbp.errors import UserError

FILLED = "missing values filled in"


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


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        format: how it was read.
        names: of the columns to forecast.
        series: one, or one for each id.
        categories: of the static columns.
        counts: how often a rule was followed, by what was done.
    """

    format: SeriesFormat
    names: tuple[str, ...]
    series: tuple[Series, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the columns of `known`."""
        form = self.format
        return (
            *form.past_covariates,
            *form.future_covariates,
            *covariates.calendar_names(form.calendar),
            *(
                f"{x} {y}"
                for x, known in self.categories.items()
                for y in known
            ),
        )

    @cached_property
    def step(self) -> Any:
        """Distance of two rows, a `timedelta` or number; `None` if unknown."""
        if not self.format.time_column:
            return None
        return grid.step_of(self.series[0].times)

    def known(self, series: Series, ahead: int = 0) -> np.ndarray:
        """Return all covariates of a series in its rows and in later ones.

        Args:
            series: one of the table's.
            ahead: how many later rows are wanted; what is known of the past
                alone is zero there.

        Returns:
            float64 `(rows + ahead, covariates)`.

        Raises:
            UserError: the file says too little about later rows.
        """
        rows = len(series.values) + ahead
        future = series.future[:rows]
        if not self.format.future_covariates:
            future = np.empty((rows, 0))
        gaps = np.flatnonzero(np.isnan(future).any(axis=1))
        end = gaps[0] if len(gaps) else len(future)
        if self.format.future_covariates and end < rows:
            whose = f"series {series.name!r}: " if series.name else ""
            raise UserError(
                f"{whose}{ahead} rows after the last values of "
                f"{', '.join(self.names)} must hold "
                f"{', '.join(self.format.future_covariates)}; "
                f"{end - len(series.values)} do."
            )
        moments = series.times
        if ahead:
            moments = moments.append(grid.later(moments, ahead))
        return np.concatenate(
            [
                np.pad(series.past, ((0, ahead), (0, 0))),
                future,
                covariates.calendar_features(moments, self.format.calendar),
                np.tile(series.static, (rows, 1)),
            ],
            axis=1,
        )


def read(
    path: str | Path,
    form: SeriesFormat | None = None,
    *,
    later: str | Path | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Read the series of a CSV or Parquet file.

    Args:
        path: of the file; its first line names the columns.
        form: how it holds them.
        later: a file of later rows, which hold covariates that are known
            ahead; without, they may be the last rows of the same file.
        categories: those known of the static columns; by default the file's.

    Raises:
        UserError: the file or a column is missing, a value is no finite number,
            times do not rise or not in equal steps, or values are missing that
            may not be or have none before them.
    """
    form = form or SeriesFormat()
    form.check()
    reader = _Reader(Path(path), form)
    frame = reader.frame(Path(path))
    if later and not form.future_covariates:
        raise UserError(
            f"{later}: later rows are for future_covariates, and there are none"
        )
    if later:
        frame = reader.joined(frame, Path(later))
    groups: dict[str, pd.DataFrame] = {"": frame}
    if form.id_column:
        groups = {
            str(name): group for name, group in frame.groupby("id", sort=False)
        }
    chosen = {
        name: reader.static(name, group) for name, group in groups.items()
    }
    if categories is None:
        categories = {
            column: sorted({values[column] for values in chosen.values()})
            for column in form.static
        }
    series = tuple(
        reader.series(name, group, covariates.one_hot(chosen[name], categories))
        for name, group in groups.items()
    )
    table = Table(
        form,
        reader.names,
        series,
        {column: tuple(known) for column, known in categories.items()},
        {what: count for what, count in reader.counts.items() if count},
    )
    for other in series[1:]:
        step = grid.step_of(other.times)
        if table.step is not None and step not in (None, table.step):
            raise UserError(
                f"{path}: rows of series {other.name!r} are {step} "
                f"apart, of {series[0].name!r} {table.step}; resample them."
            )
    return table


class _Reader:
    """Reads files of one format.

    Attributes:
        names: of the columns to forecast, as the first file has them.
        counts: how often a rule was followed.
    """

    def __init__(self, path: Path, form: SeriesFormat):
        self.path, self.form = path, form
        self.names: tuple[str, ...] = ()
        self.counts: dict[str, int] = {}

    def frame(self, path: Path, ahead: bool = False) -> pd.DataFrame:
        """Read a file's columns, named by what they are and their names.

        Args:
            path: of the file.
            ahead: whether it holds later rows, so covariates alone.
        """
        form = self.form
        raw = frames.read_frame(
            path, separator=form.separator, encoding=form.encoding
        )
        if not ahead:
            self.names = form.target or self.others(raw)
        read: dict[str, Any] = {
            "place": [f"{path}, line {line}" for line in raw.index]
        }
        if form.time_column:
            column = frames.find_column(path, raw, form.time_column)
            read["time"] = times.parse(path, column, form.date_format)
        if form.id_column:
            column = frames.find_column(path, raw, form.id_column)
            read["id"] = _named(path, column).to_numpy()
        for name in () if ahead else form.static:
            column = frames.find_column(path, raw, name)
            text = column.fillna("").astype(str).str.strip()
            read[f"static {name}"] = text.to_numpy()
        known = (*self.names, *form.past_covariates) if not ahead else ()
        for name in (*known, *form.future_covariates):
            column = frames.find_column(path, raw, name)
            if pd.api.types.is_bool_dtype(column):
                column = column.astype("float64")
            read[f"value {name}"] = frames.numbers(
                path, column, decimal=form.decimal
            )
        return pd.DataFrame(read)

    def joined(self, frame: pd.DataFrame, later: Path) -> pd.DataFrame:
        """Return a file's rows and the later ones of another file."""
        more = self.frame(later, ahead=True)
        if self.form.time_column and more["time"].dtype != frame["time"].dtype:
            raise UserError(
                f"{later}: its times are of another kind than those of "
                f"{self.path}, as {frame['time'].iloc[0]}"
            )
        if self.form.id_column:  # of other series nothing is forecast
            more = more[more["id"].isin(frame["id"])]
        return pd.concat([frame, more], ignore_index=True)

    def others(self, raw: pd.DataFrame) -> tuple[str, ...]:
        """Return the columns that are nothing else than values to forecast."""
        form = self.form
        if "" in raw.columns:
            raise UserError(
                f"{self.path}: column {list(raw.columns).index('') + 1} has no "
                "name. Say which columns hold values."
            )
        used = {form.time_column, form.id_column, *form.static}
        used |= {*form.past_covariates, *form.future_covariates}
        found = tuple(name for name in raw.columns if name not in used)
        if not found:
            raise UserError(f"{self.path}: holds no values.")
        return found

    def static(self, name: str, group: pd.DataFrame) -> dict[str, str]:
        """Return the category of a series in each static column."""
        found = {}
        for column in self.form.static:
            values = group[f"static {column}"].dropna()
            found[column] = values.iloc[0]
            for row in np.flatnonzero(values != found[column])[:1]:
                raise UserError(
                    f"{group['place'].iloc[row]}: {column!r} is "
                    f"{values.iloc[row]!r}, and {found[column]!r} before in "
                    f"the same series {name!r}; a static column is constant."
                )
        return found

    def series(
        self, name: str, group: pd.DataFrame, static: np.ndarray
    ) -> Series:
        """Return one series at equal distances, without gaps."""
        form = self.form
        columns = (*self.names, *form.past_covariates, *form.future_covariates)
        rows = Rows(
            pd.RangeIndex(len(group)),
            group[[f"value {column}" for column in columns]].to_numpy(),
            group["place"].to_numpy(),
        )
        if form.time_column:
            rows = self.regular(rows, pd.Index(group["time"]))
        count = self.known_rows(rows)
        end = len(self.names) + len(form.past_covariates)
        whose = f"series {name!r}: " if name else ""
        try:
            values, filled = grid.filled(
                Rows(rows.times, rows.values[:count], rows.places),
                form.missing,
                columns,
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
        rows = Rows(moments, rows.values[kept], np.asarray(rows.places)[kept])
        if not len(moments):
            raise UserError(f"{self.path}: holds no times that ever were.")
        grid.check_rising(rows)
        if not form.resample:
            return grid.regular(rows)
        self.count(f"rows averaged over {form.resample}", len(moments))
        return grid.resampled(rows, form.resample)

    def known_rows(self, rows: Rows) -> int:
        """Return how many rows there are, but for later ones of covariates."""
        if not self.form.future_covariates:
            return len(rows.values)
        targets = rows.values[:, : len(self.names)]
        known = np.flatnonzero(~np.isnan(targets).all(axis=1))
        return int(known[-1]) + 1 if len(known) else len(rows.values)

    def count(self, what: str, number: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + number


def _named(path: Path, column: "pd.Series[Any]") -> "pd.Series[str]":
    """Return the ids of rows, all of which must have one."""
    text = column.fillna("").astype(str).str.strip()
    for row in np.flatnonzero(text == "")[:1]:
        raise UserError(
            f"{path}, line {column.index[row]}: has nothing in the id_column "
            f"{column.name!r}."
        )
    return text
