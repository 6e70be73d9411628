"""Series from a CSV file, split in time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from kbp._utils.config import check_unused, choice, number
from kbp.data.formats.series_table import MISSING, read
from kbp.data.registry import register_dataset
from kbp.data.series import SeriesSplits, Windows
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

# Row numbers at which training, validation and test end, from the times.
Split = Callable[[Sequence[Any]], Sequence[int]]
# Keys of the config that count for each way to split.
_KEYS_OF_SPLIT = {
    "fractions": ("validation_fraction", "test_fraction"),
    "rows": ("rows",),
    "dates": ("dates",),
}
_KEYS = tuple(key for keys in _KEYS_OF_SPLIT.values() for key in keys)


@dataclass(frozen=True)
class CsvSeriesConfig:
    """Keys of `[data]` for `name = "csv_series"`, a file of a person's own.

    The rows are split in time: by `validation_fraction` and `test_fraction`, or
    at `rows` or `dates`, before which training, validation and test end.
    """

    file: str = ""
    time_column: str = ""
    columns: tuple[str, ...] = ()
    missing: str = choice("refuse", MISSING)
    lookback: int = number(336, 1)
    horizon: int = number(96, 1)
    split: str = choice("fractions", tuple(_KEYS_OF_SPLIT))
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()

    @property
    def reading(self) -> dict[str, Any]:
        """How `series_table.read` is to read the file."""
        keys = ("time_column", "columns", "missing")
        return {key: getattr(self, key) for key in keys}


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
        lookback=config.lookback,
        horizon=config.horizon,
        split=splits[config.split],
        **config.reading,
    )


def load(
    path: str | Path,
    *,
    lookback: int,
    horizon: int,
    split: Split,
    time_column: str = "",
    columns: Sequence[str] = (),
    missing: str = "refuse",
) -> SeriesSplits:
    """Load the windows of a CSV file, split in time and standardized.

    Args:
        path: of the file; its first line names the columns.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
        split: `split(times) -> ends`, the row numbers at which training,
            validation and test end; see `by_rows`.
        time_column: column of times, see `series_table.read`.
        columns: columns of values; by default all others.
        missing: what to do about missing values, see `series_table.read`.

    Returns:
        Windows standardized with mean and deviation of the training rows.

    Raises:
        UserError: the file is wrong, see `series_table.read`; too short for the
            windows of a split; or a column is constant in the training rows, or
            elsewhere too far from them for float32.
    """
    table = read(
        path, time_column=time_column, columns=columns, missing=missing
    )
    ends = split(table.times)
    begins = (0, *(max(0, end - lookback) for end in ends[:2]))
    for name, begin, end in zip(SPLITS, begins, ends, strict=True):
        if end - begin < lookback + horizon and (
            name != "validation" or ends[0] != ends[1]
        ):
            raise UserError(
                f"{path}: the {name} split has {end - begin} rows, with those "
                f"it looks back on; a look-back of {lookback} and a horizon of "
                f"{horizon} need {lookback + horizon}."
            )
    known = table.values[: ends[0]]
    mean, scale = known.mean(axis=0), known.std(axis=0)
    with np.errstate(all="ignore"):  # the next lines look at what came out
        values = ((table.values - mean) / scale).astype("float32")
    for index, name in enumerate(table.names):
        if not np.ptp(known[:, index]):
            raise UserError(
                f"{path}: column {name!r} is constant in the training rows; "
                "leave it out of the columns."
            )
        if not np.isfinite(values[:, index]).all():
            raise UserError(
                f"{path}: column {name!r} has values too far from those of the "
                "training rows; correct them, or leave it out of the columns."
            )
    train, validation, test = (
        Windows(values[begin:end], lookback, horizon)
        for begin, end in zip(begins, ends, strict=True)
    )
    return SeriesSplits(
        train,
        validation,
        test,
        table.names,
        mean,
        scale,
        table.filled,
        table.times[1] - table.times[0] if time_column else None,
    )


def by_fractions(validation: float, test: float) -> Split:
    """Return a split of the last rows for test, those before for validation.

    Args:
        validation: share of all rows.
        test: share of all rows.
    """

    def split(times: Sequence[Any]) -> Sequence[int]:
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

    def split(times: Sequence[Any]) -> Sequence[int]:
        return _ends(ends, len(times), ends)

    return split


def by_dates(ends: Sequence[str]) -> Split:
    """Return a split at times.

    Args:
        ends: the times before which training, validation and test end, in
            ISO 8601; without the third, the test goes on to the last row.
    """

    def split(times: Sequence[Any]) -> Sequence[int]:
        if not isinstance(times[0], datetime):
            raise UserError("A split by dates needs a column of dates.")
        try:
            limits = [datetime.fromisoformat(end) for end in ends]
            rows = [sum(time < limit for time in times) for limit in limits]
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
