"""Columns of times: dates, local times of a zone, or numbers."""

import difflib
import functools
import re
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.errors import UserError

_LARGEST = 1e100
# Of dates, with room for their offsets and for what is forecast.
_FIRST_YEAR, _LAST_YEAR = 100, 9900
_DATE = r"\d{4}-\d\d-\d\d|\d{8}"
_CLOCK = r"\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?"
_OFFSET = r"(?:Z|[+-]\d\d(?::?\d\d)?)"
_ISO = rf"({_DATE})([T ]{_CLOCK}\s?{_OFFSET}?)?"


def parse(
    path: str | Path, column: "pd.Series[Any]", date_format: str = ""
) -> "pd.Index[Any]":
    """Return a column's times: dates, in UTC if they have offsets, or numbers.

    Args:
        path: of the file, for errors.
        column: of a frame of `read_frame`.
        date_format: of the dates, as `strptime` has it; `""` for ISO 8601, or
            for numbers, if all of them are.

    Returns:
        A `DatetimeIndex` or an index of numbers.

    Raises:
        UserError: a time is none, or not like the others; the message names its
            line.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = pd.DatetimeIndex(column)
        _check(path, column, dates.notna(), "is no date")
        return _as_written(_plausible(path, column, dates), [])
    text = column.fillna("").astype(str).str.strip()
    if date_format:
        dates = _by_format(text, date_format)
        _check(path, text, dates.notna(), f"does not fit {date_format!r}")
        return _plausible(path, text, dates)
    values = pd.to_numeric(text, errors="coerce")
    numeric = (values.abs() < _LARGEST).to_numpy(bool)
    dates, offsets = _iso(text)
    dated = np.asarray(dates.notna())
    if dated.all():
        none = [offset == "" for offset in offsets]
        if any(none) and not all(none):
            odd = none.index(not none[0])
            raise UserError(
                f"{path}, line {column.index[odd]}: some of its times have a "
                f"time zone, as {text.iloc[odd if none[0] else 0]!r}, others "
                "none."
            )
        return _as_written(_plausible(path, text, dates), offsets)
    fits = max(
        numeric, dated, key=lambda ok: len(ok) if ok.all() else ok.argmin()
    )
    _check(
        path,
        text,
        fits,
        "is no date in ISO 8601, as 2016-07-01 00:15, and no number, or not of "
        "the kind of those before it; a date_format, such as '%d.%m.%Y %H:%M', "
        "reads others",
    )
    return pd.Index(values.to_numpy())


def count_shown_in_utc(times: "pd.Index[Any]", column: "pd.Series[Any]") -> int:
    """Return how many times were written in other offsets than UTC's.

    Args:
        times: of `parse`, which shows those of several offsets in UTC.
        column: that they were read from.
    """
    if str(getattr(times, "tz", "")) != "UTC" or times.dtype == column.dtype:
        return 0
    text = column.astype(str).str.strip()
    return int((~text.str.contains(r"(?:Z|[+-]00(?::?00)?|UTC|GMT)$")).sum())


def count_cut(times: "pd.Index[Any]", column: "pd.Series[Any]") -> int:
    """Return how many times were written with parts of a microsecond.

    Args:
        times: of `parse`, which are of whole microseconds.
        column: that they were read from.
    """
    if not isinstance(times, pd.DatetimeIndex):
        return 0
    if pd.api.types.is_datetime64_any_dtype(column):
        whole = pd.DatetimeIndex(column)
        return int((whole.as_unit("ns") != whole.as_unit("us")).sum())
    return int(column.astype(str).str.contains(r"[.,]\d{6}0*[1-9]").sum())


def in_zone(
    times: "pd.Index[Any]", zone: str, counts: dict[str, int]
) -> tuple["pd.Index[Any]", np.ndarray]:
    """Read local times as those of a time zone.

    A time that comes twice, when clocks are set back, is the first of the two,
    unless that is not after the time before it in the file. A time that clocks
    skip never was. Dates without a time of day have no zone.

    Args:
        times: of `parse`.
        zone: such as `"Europe/Berlin"`; times with offsets are shown in it.
        counts: where it is counted how many times come twice and are skipped.

    Returns:
        The times, and which of them are kept, `(times,)`: not those skipped.

    Raises:
        UserError: the zone is unknown, or times are no dates.
    """
    if zone not in (known := _zones()):
        close = difflib.get_close_matches(zone, sorted(known), 3)
        like = " or ".join(map(repr, close or ("Europe/Berlin", "UTC")))
        raise UserError(
            f"time_zone: unknown {zone!r}; it is one of the IANA time zones, "
            f"such as {like}."
        )
    if not isinstance(times, pd.DatetimeIndex):
        raise UserError(
            f"time_zone: a time such as {times[0]} has none; it is for dates."
        )
    kept = np.full(len(times), True)
    if times.tz is not None:
        return times.tz_convert(zone), kept
    if (times == times.normalize()).all():
        return times, kept
    first, second = (
        times.tz_localize(
            zone, ambiguous=np.full(len(times), dst), nonexistent="NaT"
        )
        for dst in (True, False)
    )
    kept = np.asarray(first.notna())
    first, second = first[kept], second[kept]
    found = first.to_series(index=range(len(first)))
    twice = np.flatnonzero(first != second)
    for row in twice:
        if row and found[row] <= found[row - 1]:
            found[row] = second[row]
    for what, count in (
        ("times in an hour that comes twice", len(twice)),
        ("rows left out at times that clocks skip", int((~kept).sum())),
    ):
        counts[what] = counts.get(what, 0) + count
    return pd.DatetimeIndex(found), kept


@functools.cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


def _by_format(text: "pd.Series[str]", date_format: str) -> pd.DatetimeIndex:
    if "%" not in date_format:  # pandas knows words that guess
        raise UserError(
            f"date_format: {date_format!r} is none of strptime, such as "
            "'%d.%m.%Y %H:%M'"
        )
    try:
        dates = pd.to_datetime(
            text, format=date_format, errors="coerce", utc="%z" in date_format
        )
    except (ValueError, re.error) as error:
        reason = str(error)
        if isinstance(error, re.error):
            reason = f"{date_format!r} names one part of a date twice"
        raise UserError(
            f"date_format: {reason}; it is one of strptime, such as "
            "'%d.%m.%Y %H:%M'"
        ) from error
    return pd.DatetimeIndex(dates).as_unit("us")


def _iso(text: "pd.Series[str]") -> tuple[pd.DatetimeIndex, list[str]]:
    """Return dates, NaT for what is none, and their offsets from UTC."""
    known = text.str.fullmatch(_ISO)
    offsets = text.str.extract(rf":?\d\d\s?({_OFFSET})$")[0].fillna("")
    offsets = offsets.where(text.str.len() > len("2016-07-01"), "")
    dates = pd.to_datetime(
        text.where(known),
        format="ISO8601",
        errors="coerce",
        utc=bool((offsets != "").any()),
    )
    return pd.DatetimeIndex(dates).as_unit("us"), offsets.tolist()


def _as_written(dates: pd.DatetimeIndex, offsets: list[str]) -> "pd.Index[Any]":
    """Show dates in the offset that all of them were written in, if one."""
    if len(written := set(offsets)) == 1 and (offset := written.pop()):
        zone = pd.Timestamp(f"2000-01-01T00:00{offset}").tz
        return dates.tz_convert(zone)
    return dates


def _plausible(
    path: str | Path, text: "pd.Series[Any]", dates: pd.DatetimeIndex
) -> pd.DatetimeIndex:
    """Return dates in microseconds, none so far off that Python has none."""
    dates = dates.as_unit("us")
    _check(
        path,
        text,
        (dates.year >= _FIRST_YEAR) & (dates.year <= _LAST_YEAR),
        f"is not in the years {_FIRST_YEAR} to {_LAST_YEAR}; is it a stand-in "
        "for a missing one?",
    )
    return dates


def _check(
    path: str | Path, text: "pd.Series[Any]", fits: Any, problem: str
) -> None:
    wrong = np.flatnonzero(~np.asarray(fits, bool))
    if len(wrong):
        raise UserError(
            f"{path}, line {text.index[wrong[0]]}: the time "
            f"{text.iloc[wrong[0]]!r} {problem}."
        )
