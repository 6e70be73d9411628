"""Electricity transformer temperature: ETTh1, ETTh2, ETTm1 and ETTm2."""

from pathlib import Path

from kbp.data.formats import csv_series
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

    def split(times):
        if len(times) != rows * HOURS:
            raise UserError(
                f"{path}: has {len(times)} rows, not {rows * HOURS}."
            )
        return tuple(rows * end for end in ENDS)

    return csv_series.load(
        path,
        lookback=lookback,
        horizon=horizon,
        split=split,
        time_column=TIME_COLUMN,
    )
