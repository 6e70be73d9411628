"""Where training, validation and test end in time."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from kbp.errors import UserError

# Row numbers at which training, validation and test end, from the times.
Split = Callable[["pd.Index[Any]"], Sequence[int]]


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
