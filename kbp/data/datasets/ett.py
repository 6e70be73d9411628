"""Electricity transformer temperature: ETTh1, ETTh2, ETTm1 and ETTm2."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kbp._utils.config import number
from kbp.data.formats import csv_series
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.registry import register_dataset
from kbp.data.series import SeriesSplits
from kbp.data.splits import folder_of
from kbp.errors import UserError

FOLDER = "ETT-small"
TIME_COLUMN = "date"
# Rows of an hour; the "m" sets have four.
ROWS_OF_AN_HOUR = {"etth1": 1, "etth2": 1, "ettm1": 4, "ettm2": 4}
HOURS = 17420
# Months of 30 days: twelve for training, four for validation, four for test.
ENDS = tuple(24 * 30 * months for months in (12, 16, 20))


@dataclass(frozen=True)
class EttConfig:
    """Keys of `[data]` for `name = "etth1"` and its like, see `load`."""

    lookback: int = number(336, 1, 1_000_000)
    horizon: int = number(96, 1, 1_000_000)

    @property
    def format(self) -> SeriesFormat:
        """How the files hold series."""
        return SeriesFormat(time_column=TIME_COLUMN)


def load(
    name: str, data_dir: str | Path | None, *, lookback: int, horizon: int
) -> SeriesSplits:
    """Load the load and oil temperature of a transformer.

    Args:
        name: one of `ROWS_OF_AN_HOUR`.
        data_dir: folder that holds `ETT-small`, with the CSV files.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.

    Returns:
        Seven channels, split and standardized as usual.

    Raises:
        UserError: the file is missing or wrong.

    Reference:
        Zhou et al., Informer: Beyond Efficient Transformer for Long Sequence
        Time-Series Forecasting, AAAI 2021.
    """
    title = name.replace("ett", "ETT")
    path = folder_of(title, FOLDER, data_dir) / f"{title}.csv"
    rows = ROWS_OF_AN_HOUR[name]

    def split(times: Sequence[Any]) -> tuple[int, ...]:
        if len(times) != rows * HOURS:
            raise UserError(
                f"{path}: has {len(times)} rows, not {rows * HOURS}."
            )
        return tuple(rows * end for end in ENDS)

    return csv_series.load(
        path,
        SeriesFormat(time_column=TIME_COLUMN),
        lookback=lookback,
        horizon=horizon,
        split=split,
    )


def _load_config(
    name: str, config: EttConfig, data_dir: str | Path | None
) -> SeriesSplits:
    return load(name, data_dir, **vars(config))


for _name in ROWS_OF_AN_HOUR:
    register_dataset(_name, config=EttConfig, task="forecasting")(
        partial(_load_config, _name)
    )
