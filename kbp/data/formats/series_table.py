"""Columns of numbers in a CSV file, at equal distances in time."""

import csv
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

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
    times: Sequence[Any]
    filled: int = 0


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
    time_place = _place(path, header, time_column) if time_column else -1
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
    labels: Sequence[Any] = [f"line {line}" for line in lines]
    if time_column:
        times = _times(path, lines, [row[time_place] for _, row in rows])
        values, times = _regular(path, lines, values, times)
        labels = times
    gaps = np.isnan(values)
    if gaps.any():
        values = _fill(path, values, gaps, columns, labels, missing)
    return Table(tuple(columns), values, times, int(gaps.sum()))


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
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


def _place(path: str | Path, header: list[str], name: str) -> int:
    if name not in header:
        raise UserError(
            f"{path}: has no column {name!r}{nearest(name, header)}"
        )
    return header.index(name)


def _number(path: str | Path, line: int, column: str, text: str) -> float:
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


def _times(path: str | Path, lines: list[int], texts: list[str]) -> list[Any]:
    """Return dates if all texts are dates, else numbers."""
    furthest = 0
    readers: tuple[Callable[[str], Any], ...] = (
        datetime.fromisoformat,
        _finite,
    )
    for read_time in readers:
        times: list[Any] = []
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


def _finite(text: str) -> float:
    if not abs(value := float(text)) < _LARGEST:
        raise ValueError(text)
    return value


def _regular(
    path: str | Path, lines: list[int], values: np.ndarray, times: list[Any]
) -> tuple[np.ndarray, list[Any]]:
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


def _fill(
    path: str | Path,
    values: np.ndarray,
    gaps: np.ndarray,
    columns: Sequence[str],
    labels: Sequence[Any],
    missing: str,
) -> np.ndarray:
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
