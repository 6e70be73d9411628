"""What is known beside the values to forecast: columns, calendar, categories.

A covariate is a column for all rows that a model may see, those of the horizon
too. What is known of the past alone is zero there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kbp.errors import UserError, nearest

_DAY = 86400  # seconds
# Of local times, the part of a full turn that has passed.
_TURNS = {
    "hour": lambda times: (
        (times.hour * 3600 + times.minute * 60 + times.second) / _DAY
    ),
    "weekday": lambda times: times.day_of_week / 7,
    "day_of_year": lambda times: (times.day_of_year - 1) / 365.2425,
}
CALENDAR = tuple(_TURNS)


def check_calendar(names: Sequence[str]) -> None:
    """Raise a UserError if a feature of the calendar is unknown or repeated."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"calendar names {name!r} again.")
        if name not in _TURNS:
            raise UserError(
                f"calendar: unknown {name!r}{nearest(name, CALENDAR)}"
            )


def calendar_features(
    times: "pd.Index[Any]", names: Sequence[str]
) -> np.ndarray:
    """Return the sine and the cosine of each feature of the calendar.

        sin(2 pi part), cos(2 pi part)

    with the part of the day, week or year that has passed in local time, so
    that the end of each is beside its beginning.

    Args:
        times: dates, in their own zone.
        names: some of `CALENDAR`.

    Returns:
        float64 `(times, 2 * names)`.

    Raises:
        UserError: times are no dates.

    Example:
    >>> import pandas as pd
    >>> from kbp.data.formats.covariates import calendar_features
    >>> times = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 06:00"])
    >>> calendar_features(times, ["hour"]).round(2) + 0.0
    array([[0., 1.],
           [1., 0.]])
    """
    if not names:
        return np.empty((len(times), 0))
    if not isinstance(times, pd.DatetimeIndex):
        raise UserError(
            f"calendar needs a column of dates; received times as {times[0]}"
        )
    angles = [2 * np.pi * np.asarray(_TURNS[name](times)) for name in names]
    columns = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(columns, axis=1)


def calendar_names(names: Sequence[str]) -> list[str]:
    """Return the names of the columns of `calendar_features`."""
    return [f"{name} {wave}" for name in names for wave in ("sine", "cosine")]


def one_hot(
    values: Mapping[str, str], categories: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Return a one for each column's category and zeros for all others.

    Args:
        values: a series' category in each column.
        categories: the known ones of each column; another is all zeros.

    Returns:
        float64 `(categories of all columns,)`.

    Example:
    >>> from kbp.data.formats.covariates import one_hot
    >>> one_hot({"kind": "b"}, {"kind": ("a", "b")})
    array([0., 1.])
    """
    return np.array(
        [
            float(values[column] == category)
            for column, known in categories.items()
            for category in known
        ]
    )
