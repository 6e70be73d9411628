"""Series from a CSV file, split in time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp._utils.config import check_unused, choice, number
from kbp.data.checks.values import MOST
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_reader import Series
from kbp.data.formats.series_table import Table, read
from kbp.data.registry import register_dataset
from kbp.data.series import Covariates, SeriesSplits, Windows
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

# Row numbers at which training, validation and test end, from the times.
Split = Callable[["pd.Index[Any]"], Sequence[int]]
# Keys of the config that count for each way to split.
_KEYS_OF_SPLIT = {
    "fractions": ("validation_fraction", "test_fraction"),
    "rows": ("rows",),
    "dates": ("dates",),
}
_KEYS = tuple(key for keys in _KEYS_OF_SPLIT.values() for key in keys)


@dataclass(frozen=True)
class CsvSeriesConfig(SeriesFormat):
    """Keys of `[data]` for `name = "csv_series"`, a file of a person's own.

    The rows are split in time: by `validation_fraction` and `test_fraction`, or
    at `rows` or `dates`, before which training, validation and test end. Each
    series is split for itself.
    """

    file: str = ""
    lookback: int = number(336, 1, 1_000_000)
    horizon: int = number(96, 1, 1_000_000)
    split: str = choice("fractions", tuple(_KEYS_OF_SPLIT))
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()


@register_dataset(
    "csv_series", config=CsvSeriesConfig, task="forecasting", in_data_dir=False
)
def load_config(
    config: CsvSeriesConfig, data_dir: str | Path | None
) -> SeriesSplits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: the file is wrong, or a key belongs to another split.
    """
    if not config.file:
        raise UserError("data.file must name a CSV file")
    own = _KEYS_OF_SPLIT[config.split]
    others = [key for key in _KEYS if key not in own]
    reason = f"data.split is {config.split!r}"
    check_unused("data", config, reason, *others)
    splits = {
        "fractions": by_fractions(
            config.validation_fraction, config.test_fraction
        ),
        "rows": by_rows(config.rows),
        "dates": by_dates(config.dates),
    }
    return load(
        config.file,
        config.format,
        lookback=config.lookback,
        horizon=config.horizon,
        split=splits[config.split],
    )


def load(
    path: str | Path,
    form: SeriesFormat,
    *,
    lookback: int,
    horizon: int,
    split: Split,
) -> SeriesSplits:
    """Load the windows of a file, split in time and standardized.

    Args:
        path: of the file; its first line names the columns.
        form: how it holds series.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
        split: `split(times) -> ends`, the row numbers at which training,
            validation and test end; see `by_rows`.

    Returns:
        Windows; what is to be forecast is standardized with mean and deviation
        of the training rows of its own series, covariates keep their units.

    Raises:
        UserError: the file is wrong, see `series_table.read`; too short for the
            windows of a split; or a column is constant in the training rows, or
            elsewhere too far from them for float32.
    """
    table = read(path, form)
    parts = [
        _part(path, table, series, lookback, horizon, split)
        for series in table.series
    ]
    rows = np.concatenate([part.rows for part in parts])
    firsts = np.cumsum([0, *(len(part.rows) for part in parts[:-1])])
    train, validation, test = (
        _windows(
            rows,
            [
                first + part.starts[name]
                for first, part in zip(firsts, parts, strict=True)
            ],
            lookback=lookback,
            horizon=horizon,
            targets=len(table.names),
            past_covariates=len(form.past_covariates),
        )
        for name in SPLITS
    )
    return SeriesSplits(
        train,
        validation,
        test,
        names=table.names,
        mean=np.stack([part.mean for part in parts]),
        scale=np.stack([part.scale for part in parts]),
        counts=table.counts,
        step=table.step,
        zone=table.zone,
        warnings=table.warnings,
        series=tuple(series.name for series in table.series),
        covariates=_covariates(table, parts) if table.covariates else None,
        tested_from=str(max(part.tested_from for part in parts)),
    )


def _windows(
    rows: np.ndarray, starts: list[np.ndarray], **arguments: int
) -> Windows:
    """Return a split's windows, given where those of each series begin."""
    members = np.repeat(np.arange(len(starts)), [len(x) for x in starts])
    return Windows(
        rows,
        starts=np.concatenate(starts),
        members=members if len(starts) > 1 else None,
        **arguments,
    )


def _covariates(table: Table, parts: "list[_Part]") -> Covariates:
    """Measure the covariates of all series in their training rows."""
    known = np.concatenate(
        [part.rows[: part.end, len(table.names) :] for part in parts]
    ).astype("float64")
    varies = np.ptp(known, axis=0) > 0
    return Covariates(
        table.covariates,
        len(table.format.past_covariates),
        known.mean(axis=0),
        np.where(varies, known.std(axis=0), 1.0),
        table.categories,
    )


@dataclass(frozen=True)
class _Part:
    """One series of a table.

    Attributes:
        rows: float32, standardized values and covariates.
        end: row at which training ends.
        starts: rows at which the windows of each split begin.
        mean: of the values in the training rows, `(targets,)`.
        scale: their standard deviation.
        tested_from: time of the first test row.
    """

    rows: np.ndarray
    end: int
    starts: dict[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    tested_from: Any


def _part(
    path: str | Path,
    table: Table,
    series: Series,
    lookback: int,
    horizon: int,
    split: Split,
) -> _Part:
    """Split a series in time and standardize it."""
    whose = f"{path}: series {series.name!r}: " if series.name else f"{path}: "
    try:
        ends = split(series.times)
    except UserError as error:
        raise UserError(
            f"{whose}{error}" if series.name else str(error)
        ) from error
    begins = (0, *(max(0, end - lookback) for end in ends[:2]))
    starts = {}
    for name, begin, end in zip(SPLITS, begins, ends, strict=True):
        if end - begin < lookback + horizon and (
            name != "validation" or ends[0] != ends[1]
        ):
            raise UserError(
                f"{whose}the {name} split has {end - begin} rows, with those "
                f"it looks back on; a look-back of {lookback} and a horizon of "
                f"{horizon} need {lookback + horizon}."
            )
        starts[name] = np.arange(begin, end - lookback - horizon + 1)
    known = series.values[: ends[0]]
    mean, scale = known.mean(axis=0), known.std(axis=0)
    with np.errstate(all="ignore"):  # the next lines look at what came out
        values = ((series.values - mean) / scale).astype("float32")
        covariates = table.known(series).astype("float32")
    for index, name in enumerate(table.names):
        if not np.ptp(known[:, index]):
            raise UserError(
                f"{whose}column {name!r} is constant in the training rows; "
                "leave it out of the columns."
            )
    rows = np.concatenate([values, covariates], axis=1)
    for index, name in enumerate((*table.names, *table.covariates)):
        far = ~(np.abs(rows[:, index]) < MOST)
        if far.any():
            raise UserError(
                f"{whose}column {name!r} has values too far from those of the "
                f"training rows for float32, the first at "
                f"{series.times[np.argmax(far)]}; correct them, or leave it "
                "out of the columns."
            )
    first = series.times[ends[1]]
    return _Part(rows, ends[0], starts, mean, scale, first)


def by_fractions(validation: float, test: float) -> Split:
    """Return a split of the last rows for test, those before for validation.

    Args:
        validation: share of all rows.
        test: share of all rows.
    """

    def split(times: "pd.Index[Any]") -> Sequence[int]:
        count = len(times)
        end = count - round(test * count)
        return end - round(validation * count), end, count

    return split


def by_rows(ends: Sequence[int]) -> Split:
    """Return a split at row numbers.

    Args:
        ends: the rows before which training, validation and test end; without
            the third, the test goes on to the last row.
    """

    def split(times: "pd.Index[Any]") -> Sequence[int]:
        return _ends(ends, len(times), ends)

    return split


def by_dates(ends: Sequence[str]) -> Split:
    """Return a split at times.

    Args:
        ends: the times before which training, validation and test end, in
            ISO 8601; without the third, the test goes on to the last row.
    """

    def split(times: "pd.Index[Any]") -> Sequence[int]:
        if not isinstance(times, pd.DatetimeIndex):
            raise UserError("A split by dates needs a column of dates.")
        try:
            limits = [pd.Timestamp(end) for end in ends]
            if times.tz is not None:
                limits = [
                    limit.tz_localize(
                        times.tz, ambiguous=True, nonexistent="shift_forward"
                    )
                    if limit.tzinfo is None
                    else limit
                    for limit in limits
                ]
            rows = [int(times.searchsorted(limit)) for limit in limits]
        except (ValueError, TypeError) as error:
            raise UserError(
                f"The split {list(ends)} cannot be compared with the times, "
                f"as {times[0]}: {error}"
            ) from error
        return _ends(rows, len(times), ends)

    return split


def _ends(
    rows: Sequence[int], count: int, received: Sequence[Any]
) -> tuple[int, ...]:
    """Return three row numbers, the last one that of all rows if left out."""
    full = (*rows, count) if len(rows) == 2 else tuple(rows)
    if len(full) != 3 or not 0 < full[0] <= full[1] < full[2] <= count:
        after = "" if rows is received else f", which lie after rows {rows}"
        raise UserError(
            "The split must name two or three ends, each after the one before "
            f"and within the {count} rows there are; received "
            f"{list(received)}{after}"
        )
    return full
