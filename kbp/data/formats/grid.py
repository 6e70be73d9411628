"""Rows at equal distances in time: found, made by averaging, and filled."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from kbp.errors import UserError

MISSING = ("refuse", "previous", "interpolate")
# What rows are called, by the time between them.
_NAMES: dict[timedelta | float | None, str] = {
    timedelta(minutes=1): "minute",
    timedelta(hours=1): "hour",
    timedelta(days=1): "day",
    timedelta(weeks=1): "week",
}


@dataclass(frozen=True)
class Rows:
    """Rows of one series.

    Attributes:
        times: `(rows,)`, dates or numbers.
        values: float64 `(rows, columns)`, NaN where one is missing.
        places: where each row was read, such as `"load.csv, line 3"`; of
            regular times, the times; as errors show them.
        absent: whether a row was missing, `(rows,)`; `None` if none was.
    """

    times: "pd.Index[Any]"
    values: np.ndarray
    places: Any
    absent: np.ndarray | None = None

    def part(self, which: slice) -> "Rows":
        """Return some of the rows."""
        absent = None if self.absent is None else self.absent[which]
        return Rows(
            self.times[which], self.values[which], self.places[which], absent
        )


def check_rising(rows: Rows) -> None:
    """Raise a UserError that names the first time not after the one before."""
    steps = np.diff(_ticks(rows.times))
    falling = np.flatnonzero(steps <= 0)
    if not len(falling):
        return
    first = falling[0] + 1
    advice = ""
    if (steps < 0).sum() > len(steps) / 2:
        advice = "; sort the rows, the earliest first"
    elif isinstance(rows.times, pd.DatetimeIndex) and rows.times.tz is None:
        advice = (
            "; a time_zone tells apart the hour that comes twice when clocks "
            "are set back, an id_column the rows of several series"
        )
    raise UserError(
        f"{rows.places[first]}: the time {rows.times[first]} is not after the "
        f"one before, at {len(falling)} lines in all{advice}."
    )


def regular(rows: Rows) -> Rows:
    """Put empty rows where the times leave out some.

    Raises:
        UserError: steps are no multiples of the usual one, or more rows would
            be empty than there are.
    """
    times = rows.times
    ticks = _ticks(times)
    steps = np.diff(ticks)
    if not len(steps):
        return rows
    usual = np.sort(steps)[len(steps) // 2]
    ratios = steps / usual
    counts = np.round(ratios).astype(int)
    odd = np.flatnonzero((np.abs(ratios - counts) > 1e-3) | (ratios < 0.5))
    if len(odd):
        raise UserError(
            f"{rows.places[odd[0] + 1]}: is {_span(times, steps[odd[0]])} "
            f"after the one before, not {_span(times, usual)} or a multiple, "
            f'as {len(odd)} lines. Say resample = "{_advised(times, usual)}" '
            "or the like to take means over equal steps; where only columns of "
            "values are named, rows count as equally far apart."
        )
    longest = int(np.argmax(steps))
    _check_gaps(
        rows,
        int(counts.sum()) - len(counts),
        f"{rows.places[longest + 1]}: is {_span(times, steps[longest])} after "
        "the one before. ",
    )
    places = np.concatenate([[0], np.cumsum(counts)])
    return _spread(rows, places, _from(times[0], usual, places[-1] + 1, times))


def _advised(times: "pd.Index[Any]", usual: Any) -> str:
    """Return the step to resample to, whole days where rows are those."""
    dated = isinstance(times, pd.DatetimeIndex)
    # The days that clocks change on have 23 or 25 hours.
    if dated and _span(times, usual) >= timedelta(hours=23):
        return f"{round(_span(times, usual) / timedelta(days=1))}D"
    return "1h"


def resampled(rows: Rows, rule: str) -> Rows:
    """Return the means of values over equal steps of time.

    Steps of whole days are those of the local calendar, and have dates alone.

    Args:
        rows: at rising times.
        rule: the step, a fixed span in pandas' words, such as `"15min"`.

    Raises:
        UserError: the step is none, times are no dates, or more steps would be
            empty than there are rows.
    """
    begin, ticks, step = _since_midnight(rows.times, rule)
    usual = step // pd.Timedelta(microseconds=1)
    bins = ticks // usual
    means = pd.DataFrame(rows.values).groupby(bins).mean()
    used = means.index.to_numpy()
    first = begin + int(used[0]) * step
    count = int(used[-1] - used[0]) + 1
    _check_gaps(rows, count - len(used), f"resample = {rule!r}: ")
    part = rows.part(slice(len(used)))
    full = dataclasses.replace(part, values=means.to_numpy())
    return _spread(
        full,
        used - used[0],
        _from(first, usual, count, pd.DatetimeIndex([first])),
    )


def rows_of_partial_steps(times: "pd.Index[Any]", rule: str) -> tuple[int, int]:
    """Return how many rows lie in a first and a last step that are not whole.

    A step at an end is whole if no row is missing there, at the usual distance
    of rows.

    Args:
        times: rising.
        rule: the step, see `resampled`.
    """
    if len(times) < 2:
        return 0, 0
    _, ticks, step = _since_midnight(times, rule)
    usual = step // pd.Timedelta(microseconds=1)
    bins, distance = ticks // usual, np.median(np.diff(ticks))
    late = ticks[0] - distance >= bins[0] * usual
    # Rows may come a little early.
    early = ticks[-1] + 1.5 * distance <= (bins[-1] + 1) * usual
    return (
        int((bins == bins[0]).sum()) if late else 0,
        int((bins == bins[-1]).sum()) if early else 0,
    )


def _since_midnight(
    times: "pd.Index[Any]", rule: str
) -> tuple[Any, np.ndarray, pd.Timedelta]:
    """Return the midnight before times, their microseconds since, the step."""
    try:
        step = pd.Timedelta(rule)
    except ValueError as error:
        raise UserError(f"resample: {error}; say 15min, 1h or 1D") from error
    if not step >= pd.Timedelta("1ms"):
        raise UserError(
            f"resample must be a span of 1ms or more; received {rule!r}"
        )
    if not isinstance(times, pd.DatetimeIndex):
        raise UserError("resample needs a column of dates.")
    if step % pd.Timedelta(days=1) == pd.Timedelta(0):
        times = times.tz_localize(None)
    begin = times[0].normalize()
    ticks = _ticks(times) - _ticks(pd.DatetimeIndex([begin]))[0]
    return begin, ticks, step


def filled(
    rows: Rows, missing: str, names: Sequence[str], advice: str = ""
) -> tuple[np.ndarray, int]:
    """Return values without gaps, and how many were filled in.

    Args:
        rows: whose values may be missing.
        missing: one of `MISSING`.
        names: of the columns.
        advice: what else the error may say.

    Raises:
        UserError: values are missing that may not be, or a column has none to
            take.
    """
    gaps = np.isnan(rows.values)
    if not gaps.any():
        return rows.values, 0
    empty = [
        name for name, none in zip(names, gaps.all(axis=0), strict=True) if none
    ]
    if empty:
        raise UserError(f"column {empty[0]!r} holds no values.")
    row, column = (int(x[0]) for x in np.nonzero(gaps))
    if missing == "refuse":
        raise UserError(
            f"{gaps.sum()} values are missing, in {gaps.any(axis=1).sum()} "
            f"rows{_said_of_absent(rows)}, the first at {rows.places[row]} in "
            f"column {names[column]!r}. Say what to do about them (missing = "
            f'"previous" or "interpolate"){advice}.'
        )
    numbers = np.arange(len(rows.values))
    values = rows.values.copy()
    for index, name in enumerate(names):
        known = numbers[~gaps[:, index]]
        if missing == "interpolate":
            values[:, index] = np.interp(
                numbers, known, rows.values[known, index]
            )
        elif known[0]:
            raise UserError(
                f"column {name!r} begins with {known[0]} missing values, which "
                "have none before them."
            )
        else:
            last = np.maximum.accumulate(np.where(gaps[:, index], 0, numbers))
            values[:, index] = rows.values[last, index]
    return values, int(gaps.sum())


def _said_of_absent(rows: Rows) -> str:
    """Say how many rows are missing as a whole, such as hours, if any are."""
    count = 0 if rows.absent is None else int(rows.absent.sum())
    if not count:
        return ""
    name = _NAMES.get(step_of(rows.times), "row")
    many = "s are" if count > 1 else " is"
    return f" ({count} {name}{many} missing)"


def step_of(times: "pd.Index[Any]") -> timedelta | float | None:
    """Return the distance of regular times, `None` of a single one."""
    if len(times) < 2:
        return None
    ticks = _ticks(times[:2])
    step = _span(times, ticks[1] - ticks[0])
    # What two times tell of their distance is no more than they hold.
    return (
        round(step, _digits(ticks, step)) if isinstance(step, float) else step
    )


def later(times: "pd.Index[Any]", count: int) -> "pd.Index[Any]":
    """Return the times that follow regular ones.

    Args:
        times: two or more.
        count: how many to add.
    """
    step = np.diff(_ticks(times[-2:]))[0]
    return _from(times[-1], step, count + 1, times)[1:]


def _ticks(times: "pd.Index[Any]") -> np.ndarray:
    """Return times as numbers: those of dates are microseconds in UTC."""
    if isinstance(times, pd.DatetimeIndex):
        return times.as_unit("us").asi8
    return times.to_numpy()


def _span(times: "pd.Index[Any]", ticks: Any) -> Any:
    if isinstance(times, pd.DatetimeIndex):
        return timedelta(microseconds=int(ticks))
    return ticks.item()


def _from(
    first: Any, step: Any, count: int, like: "pd.Index[Any]"
) -> "pd.Index[Any]":
    """Return `count` times from a first one on, of the kind of others."""
    offsets = step * np.arange(count)
    if isinstance(like, pd.DatetimeIndex):
        return first + pd.to_timedelta(offsets, unit="us").as_unit("us")
    return pd.Index(_shortened(first + offsets))


def _shortened(numbers: Any) -> np.ndarray:
    """Return numbers without the last digits, which adding makes wrong."""
    array = np.asarray(numbers)
    if array.dtype.kind != "f":
        return array
    return np.round(array, _digits(array, array[-1] - array[0]))


def _digits(times: np.ndarray, step: float) -> int:
    """Return how many digits behind the point tell times apart."""
    largest, least = np.abs(times).max(), abs(step)
    held = 12 - math.ceil(math.log10(largest)) if largest else 12
    return max(held, 4 - math.ceil(math.log10(least))) if least else held


def _check_gaps(rows: Rows, absent: int, where: str) -> None:
    """Refuse a few rows that are very far apart, which would fill memory."""
    if absent > len(rows.times):
        raise UserError(
            f"{where}{absent} rows are missing, more than there are."
        )


def _spread(rows: Rows, at: np.ndarray, times: "pd.Index[Any]") -> Rows:
    """Put rows among empty ones."""
    values = np.full((len(times), rows.values.shape[1]), np.nan)
    values[at] = rows.values
    absent = np.full(len(times), True)
    absent[at] = False
    return Rows(times, values, times, absent)
