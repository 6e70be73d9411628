"""Series from a CSV file."""

import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from kbp.data.series import SeriesSplits, Windows
from kbp.data.splitting import SPLITS
from kbp.errors import UserError, nearest

MISSING = ("refuse", "previous", "interpolate")
_EMPTY = ("", "na", "nan", "null", "none", "n/a", "?")
_LARGEST = 1e100  # of which sums of squares are finite


@dataclass(frozen=True)
class Table:
    """What a CSV file holds.

    Attributes:
        names: of the columns with values.
        values: float64 `(rows, columns)`; NaN where one was missing.
        times: of the rows, as `datetime` objects or numbers; row numbers if
            there is no column for them.
        filled: how many values were missing and have been filled in.
    """

    names: tuple[str, ...]
    values: np.ndarray
    times: list
    filled: int = 0


def load(
    path: str | Path,
    *,
    lookback: int,
    horizon: int,
    split: Callable[[list], Sequence[int]],
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
        time_column: column of times, see `read`.
        columns: columns of values; by default all others.
        missing: what to do about missing values, see `read`.

    Returns:
        Windows standardized with mean and deviation of the training rows.

    Raises:
        UserError: the file is wrong, see `read`; too short for the windows of
            a split; or a column is constant in the training rows, or elsewhere
            too far from them for float32.
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
    train = table.values[: ends[0]]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    with np.errstate(all="ignore"):  # the next lines look at what came out
        values = ((table.values - mean) / scale).astype("float32")
    for index, name in enumerate(table.names):
        if not np.ptp(train[:, index]):
            raise UserError(
                f"{path}: column {name!r} is constant in the training rows; "
                "leave it out of the columns."
            )
        if not np.isfinite(values[:, index]).all():
            raise UserError(
                f"{path}: column {name!r} has values too far from those of the "
                "training rows; correct them, or leave it out of the columns."
            )
    windows = (
        Windows(values[begin:end], lookback, horizon)
        for begin, end in zip(begins, ends, strict=True)
    )
    return SeriesSplits(*windows, table.names, mean, scale, filled=table.filled)


def read(
    path: str | Path,
    *,
    time_column: str = "",
    columns: Sequence[str] = (),
    missing: str = "refuse",
) -> Table:
    """Read columns of numbers from a CSV file.

    Args:
        path: of the file; its first line names the columns.
        time_column: column of times in ISO 8601 or as numbers, at equal
            distances; `""` if there is none, and the rows are so.
        columns: columns of values; by default all but that of times.
        missing: what to do about missing values, those of missing rows too:
            `"refuse"` them; take the `"previous"` one; or `"interpolate"`
            linearly in time, which looks ahead, and beyond the ends of a column
            repeats its first or last value.

    Raises:
        UserError: the file or a column is missing, a value is no finite number,
            times do not rise or not in equal steps, or values are missing that
            may not be or have none before them.
    """
    header, rows = _lines(Path(path))
    time_place = _place(path, header, time_column) if time_column else None
    if not columns and "" in header:
        raise UserError(
            f"{path}: column {header.index('') + 1} has no name. Say which "
            "columns hold values."
        )
    columns = columns or [name for name in header if name != time_column]
    if len({*columns}) < len(columns):
        raise UserError(f"The columns {list(columns)} name one twice.")
    places = [_place(path, header, name) for name in columns]
    if not rows or not places:
        raise UserError(f"{path}: holds no values.")
    values = np.array(
        [
            [_number(path, line, header[at], row[at]) for at in places]
            for line, row in rows
        ]
    )
    lines, times = [line for line, _ in rows], list(range(len(rows)))
    labels: Sequence = [f"line {line}" for line in lines]
    if time_column:
        times = _times(path, lines, [row[time_place] for _, row in rows])
        values, times = _regular(path, lines, values, times)
        labels = times
    gaps = np.isnan(values)
    if gaps.any():
        values = _fill(path, values, gaps, columns, labels, missing)
    return Table(tuple(columns), values, times, int(gaps.sum()))


def by_fractions(validation: float, test: float) -> Callable:
    """Return a split of the last rows for test, those before for validation.

    Args:
        validation: share of all rows.
        test: share of all rows.
    """

    def split(times):
        count = len(times)
        end = count - round(test * count)
        return end - round(validation * count), end, count

    return split


def by_rows(ends: Sequence[int]) -> Callable:
    """Return a split at row numbers.

    Args:
        ends: the rows before which training, validation and test end; without
            the third, the test goes on to the last row.
    """

    def split(times):
        return _ends(ends, len(times), ends)

    return split


def by_dates(ends: Sequence[str]) -> Callable:
    """Return a split at times.

    Args:
        ends: the times before which training, validation and test end, in
            ISO 8601; without the third, the test goes on to the last row.
    """

    def split(times):
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


def _ends(rows, count, received):
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


def _lines(path):
    """Return the header, and the other lines that are not empty, numbered."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not lines:
        raise UserError(f"{path}: is empty.")
    (_, header), *rows = lines
    header = [name.strip() for name in header]
    named = [name for name in header if name]
    if len({*named}) < len(named):
        raise UserError(f"{path}: two columns have one name: {header}")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UserError(f"{path}: its fields must be separated by commas.")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: has {len(row)} fields, the first line "
                f"{len(header)}."
            )
    return header, rows


def _place(path, header, name):
    if name not in header:
        raise UserError(
            f"{path}: has no column {name!r}{nearest(name, header)}"
        )
    return header.index(name)


def _number(path, line, column, text):
    if text.strip().lower() in _EMPTY:
        return np.nan
    try:
        return _finite(text)
    except ValueError as error:
        raise UserError(
            f"{path}, line {line}: {text!r} in column {column!r} is no finite "
            f"number below {_LARGEST:g}; say which columns hold values, and "
            "which one times."
        ) from error


def _times(path, lines, texts):
    """Return dates if all texts are dates, else numbers."""
    furthest = 0
    for read_time in (datetime.fromisoformat, _finite):
        times = []
        try:
            for text in texts:
                times.append(read_time(text.strip()))
        except ValueError:
            furthest = max(furthest, len(times))
        else:
            return times
    raise UserError(
        f"{path}, line {lines[furthest]}: the time {texts[furthest]!r} is no "
        "date in ISO 8601, as 2016-07-01 00:15, and no number, or not of the "
        "kind of those before it."
    )


def _finite(text):
    if not abs(value := float(text)) < _LARGEST:
        raise ValueError(text)
    return value


def _regular(path, lines, values, times):
    """Put empty rows where the times leave out some."""
    try:
        steps = [b - a for a, b in itertools.pairwise(times)]
        none = steps[0] * 0 if steps else 0
        falling = [i for i, step in enumerate(steps) if step <= none]
    except TypeError as error:
        raise UserError(
            f"{path}: some of its times have a time zone, others none."
        ) from error
    if falling:
        raise UserError(
            f"{path}, line {lines[falling[0] + 1]}: the time "
            f"{times[falling[0] + 1]} is not after the one before, at "
            f"{len(falling)} lines in all."
        )
    if not steps:
        return values, times
    usual = sorted(steps)[len(steps) // 2]
    counts = [step / usual for step in steps]
    odd = [
        i for i, n in enumerate(counts) if abs(n - round(n)) > 1e-3 or n < 0.5
    ]
    if odd:
        raise UserError(
            f"{path}, line {lines[odd[0] + 1]}: is {steps[odd[0]]} after the "
            f"one before, not {usual} or a multiple, as {len(odd)} lines. "
            "Where only `columns` are named, rows count as equally far apart."
        )
    counts = [round(count) for count in counts]
    absent = sum(counts) - len(counts)
    if absent > len(times):
        longest = int(np.argmax(counts))
        raise UserError(
            f"{path}, line {lines[longest + 1]}: is {steps[longest]} after the "
            f"one before. {absent} rows are missing, more than there are."
        )
    places = np.cumsum([0, *counts])
    full = np.full((places[-1] + 1, values.shape[1]), np.nan)
    full[places] = values
    return full, [times[0] + n * usual for n in range(len(full))]


def _fill(path, values, gaps, columns, labels, missing):
    row, column = (int(x[0]) for x in np.nonzero(gaps))
    where = (
        f"{gaps.sum()} values are missing, in {gaps.any(axis=1).sum()} rows, "
        f"the first at {labels[row]} in column {columns[column]!r}"
    )
    if missing == "refuse":
        raise UserError(
            f"{path}: {where}. Say what to do about them (missing = "
            '"previous" or "interpolate").'
        )
    rows = np.arange(len(values))
    filled = values.copy()
    for index, name in enumerate(columns):
        known = rows[~gaps[:, index]]
        if not len(known):
            raise UserError(f"{path}: column {name!r} holds no values.")
        if missing == "interpolate":
            filled[:, index] = np.interp(rows, known, values[known, index])
        elif known[0]:
            raise UserError(
                f"{path}: column {name!r} begins with {known[0]} missing "
                "values, which have none before them."
            )
        else:
            last = np.maximum.accumulate(np.where(gaps[:, index], 0, rows))
            filled[:, index] = values[last, index]
    return filled
