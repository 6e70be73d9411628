"""Columns that are probably not what they count as: found, to warn of."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# How often a value far outside comes at least, and one of nines alone.
LEAST_COUNT, LEAST_NINES = 3, 2
# How far outside it lies, over the range of all others.
LEAST_GAP, LEAST_NINES_GAP = 2.0, 0.5
_MOST_VALUES = 2  # at each end
_HELD = 5  # of the least and the greatest
_LEAST_ROWS = 10  # of what may be numbered
_SHARE_OF_DATES = 0.9

_YEAR, _MONTH = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_CLOCK = r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?"
_NAME = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])\w*\.?"
_DATES = (
    rf"{_YEAR}[-/.]{_MONTH}(?:[-/.]{_DAY})?",
    rf"{_DAY}[-/.]{_DAY}[-/.](?:{_YEAR}|\d\d)",  # days or months first
    rf"{_MONTH}[-/.]{_YEAR}",
    rf"(?:{_DAY}\.?[ -])?{_NAME}[ -](?:{_DAY},? )?(?:{_YEAR}|\d\d)",
)
_AS_WORDS = re.compile(
    rf"(?:{'|'.join(_DATES)})(?:[T ]\s?{_CLOCK}.*)?|{_CLOCK}", re.IGNORECASE
)
_AS_NUMBERS = re.compile(
    r"(?:0[1-9]|1[0-2]|[1-9])\.(?:19|20)\d\d"
    r"|(?:19|20)\d\d\.(?:0[1-9]|1[0-2])"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?"
)


def sentinels(
    path: str | Path, column: "pd.Series[Any]", values: np.ndarray
) -> list[str]:
    """Return sentences about numbers that may stand for missing ones.

    Args:
        path: of the file.
        column: whose index are lines, for the message.
        values: its numbers, NaN where one is missing.

    Example:
    >>> import numpy as np, pandas as pd
    >>> from kbp.data.checks.suspicions import sentinels
    >>> values = np.array([3.5, -999, 4.5, 7, -999])
    >>> sentinels("a.csv", pd.Series(values, name="x"), values)[0][:42]
    "a.csv: column 'x' holds -999 at 2 lines, t"
    """
    seen = Sentinels()
    seen.add(column.index, values)
    return seen.sentences(path, str(column.name))


class Sentinels:
    """Numbers of a column that may stand for missing ones, part by part.

    Such a number comes `LEAST_COUNT` times or more, in at most half of the
    rows, and lies further from all others than `LEAST_GAP` times the range that
    these span. One of nines alone, as -999, needs `LEAST_NINES` and
    `LEAST_NINES_GAP`, in any number of rows. At each end of a column two are
    looked for, so few numbers of each are held.
    """

    def __init__(self) -> None:
        self.found, self.counts = np.empty(0), np.empty(0, int)
        self.lines = np.empty(0, int)

    def add(self, lines: Any, values: np.ndarray) -> None:
        """See more rows.

        Args:
            lines: of the file, `(rows,)`.
            values: numbers, NaN where one is missing.
        """
        known = ~np.isnan(values)
        every = np.concatenate([self.found, values[known]])
        places = np.concatenate([self.lines, np.asarray(lines)[known]])
        times = np.concatenate([self.counts, np.ones(known.sum(), int)])
        found, first, inverse = np.unique(
            every, return_index=True, return_inverse=True
        )
        counts = np.zeros(len(found), int)
        np.add.at(counts, inverse, times)
        kept = np.ones(len(found), bool)
        kept[_HELD : len(found) - _HELD] = False
        if not kept.all():  # one that stays inside counts for those between
            counts[_HELD - 1] += counts[~kept].sum()
        self.found, self.counts = found[kept], counts[kept]
        self.lines = places[first][kept]

    def sentences(self, path: str | Path, name: str) -> list[str]:
        """Return what there is to say.

        Args:
            path: of the file.
            name: of the column.
        """
        found, counts = self.found, self.counts
        outer = np.zeros(len(found), bool)
        for low in range(_MOST_VALUES + 1):
            for high in range(_MOST_VALUES + 1):
                outside = np.ones(len(found), bool)
                outside[low : len(found) - high] = False
                if outside.sum() > outer.sum() and _are_far(
                    found, counts, outside
                ):
                    outer = outside
        inner, sentences = found[~outer], []
        for place in np.flatnonzero(outer):
            word = _written(found[place])
            sentences.append(
                f"{path}: column {name!r} holds {word} at {counts[place]} "
                f"lines, the first is {self.lines[place]}, and else numbers "
                f"from {inner[0]:g} to {inner[-1]:g}. If it stands for a "
                f"missing number, say missing_values = {json.dumps([word])}."
            )
        return sentences


def _are_far(
    found: np.ndarray, counts: np.ndarray, outside: np.ndarray
) -> bool:
    """Say whether all of some numbers lie far from all others."""
    inner = found[~outside]
    if len(inner) < 2:
        return False
    span = inner[-1] - inner[0]
    gaps = np.maximum(inner[0] - found, found - inner[-1])[outside]
    nines = np.array([_is_nines(value) for value in found[outside]])
    usual = (
        (counts[outside] >= LEAST_COUNT)
        & (gaps > LEAST_GAP * span)
        & (counts[outside].sum() <= counts.sum() / 2)
        & (len(inner) > 2)  # else it is a third value of such a column
    )
    special = (counts[outside] >= LEAST_NINES) & (gaps > LEAST_NINES_GAP * span)
    return bool((usual | (nines & special)).all())


def _is_nines(value: float) -> bool:
    digits = _written(abs(value)).replace(".", "")
    return len(digits) > 1 and {*digits} == {"9"}


def _written(value: float) -> str:
    return f"{value:.15g}"


def identifier(
    path: str | Path, name: str, values: np.ndarray, key: str = "data.ignore"
) -> list[str]:
    """Return a sentence if a column of numbers looks like a row number.

    All are different integers, and rise, fall, or fill a range.

    Args:
        path: of the file.
        name: of the column.
        values: its numbers, NaN where one is missing.
        key: of the recipe, which leaves columns out.

    Example:
    >>> import numpy as np
    >>> from kbp.data.checks.suspicions import identifier
    >>> identifier("a.csv", "id", np.arange(10.0))[0][:38]
    "a.csv: column 'id' holds another integ"
    >>> identifier("a.csv", "size", np.arange(10) / 2)
    []
    """
    known = values[~np.isnan(values)]
    if len(known) < _LEAST_ROWS or (known != np.round(known)).any():
        return []
    steps = np.diff(known)
    one_way = (steps > 0).all() or (steps < 0).all()
    filled = len(np.unique(known)) == len(known) == np.ptp(known) + 1
    if not (one_way or filled):
        return []
    return [
        f"{path}: column {name!r} holds another integer in each row, as row "
        "numbers and identifiers do, which say nothing about other rows; "
        f"{key} = {json.dumps([name], ensure_ascii=False)} leaves it out."
    ]


def dates(
    path: str | Path,
    text: "pd.Series[Any]",
    *,
    numeric: bool,
    key: str = "data.ignore",
) -> list[str]:
    """Return a sentence if a column holds dates or times of day.

    Args:
        path: of the file.
        text: of a column, NaN where a value is missing.
        numeric: whether its values count as numbers, such as 12.2023.
        key: of the recipe, which leaves columns out.

    Example:
    >>> import pandas as pd
    >>> from kbp.data.checks.suspicions import dates
    >>> days = pd.Series(["3.12.2023", "17.1.2024"], name="day")
    >>> dates("a.csv", days, numeric=False)[0][:42]
    "a.csv: column 'day' holds dates or times, "
    """
    known = text.dropna()
    different = pd.Series(known.unique()).astype(str)
    form = _AS_NUMBERS if numeric else _AS_WORDS
    fits = different.str.fullmatch(form)
    if len(different) < 2 or fits.mean() < (1 if numeric else _SHARE_OF_DATES):
        return []
    counts = "numbers" if numeric else "categories"
    return [
        f"{path}: column {str(text.name)!r} holds dates or times, as "
        f"{different[fits].iloc[0]!r}, which count as {counts} here. Give "
        "columns of numbers in its place, such as the year, the month or the "
        "days since an event, or leave it out with "
        f"{key} = {json.dumps([str(text.name)], ensure_ascii=False)}."
    ]
