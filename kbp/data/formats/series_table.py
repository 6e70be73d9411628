"""Series in files: columns of numbers, at equal distances in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kbp.data.formats import covariates, grid
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_reader import Series, SeriesReader, read_file
from kbp.errors import UserError


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        format: how it was read.
        names: of the columns to forecast.
        series: one, or one for each id.
        categories: of the static columns.
        counts: how often a rule was followed, by what was done.
        warnings: sentences about columns that are probably something else.
        source: path of the file that must hold later rows.
    """

    format: SeriesFormat
    names: tuple[str, ...]
    series: tuple[Series, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: str = ""

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

    def check_step(self, path: str | Path, other: Series) -> None:
        """Raise a UserError if a series has steps of another length.

        Args:
            path: of the file, for the error.
            other: one of the file's, not the table's first.
        """
        own = grid.step_of(other.times)
        if None not in (own, self.step) and own != self.step:
            raise UserError(
                f"{path}: rows of series {other.name!r} are {own} apart, of "
                f"{self.series[0].name!r} {self.step}; resample them."
            )

    @property
    def zone(self) -> str:
        """Zone or offset of the times, `""` if they have none."""
        return str(getattr(self.series[0].times, "tz", None) or "")

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
        moments = series.times
        if ahead:
            moments = moments.append(grid.later(moments, ahead))
        gaps = np.flatnonzero(np.isnan(future).any(axis=1))
        end = gaps[0] if len(gaps) else len(future)
        if self.format.future_covariates and end < rows:
            whose = f"series {series.name!r}: " if series.name else ""
            raise UserError(
                f"{self.source}: {whose}{ahead} rows after the last values of "
                f"{', '.join(self.names)} must hold "
                f"{', '.join(self.format.future_covariates)}; "
                f"{end - len(series.values)} do. The first without is that of "
                f"{moments[end]}."
            )
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
    reader = SeriesReader(Path(path), form)
    frame = reader.frame(Path(path), read_file(Path(path), form))
    if later and not form.future_covariates:
        raise UserError(
            f"{later}: later rows are for future_covariates, and there are none"
        )
    if later:
        frame = reader.joined(frame, Path(later))
    groups = dict(reader.groups(frame))
    chosen = {
        name: reader.static(name, group) for name, group in groups.items()
    }
    reader.count_strangers(chosen.values(), categories or {})
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
        tuple(reader.warnings),
        str(later or path),
    )
    for other in series[1:]:
        table.check_step(path, other)
    return table
