"""Rows of a table as models take them, and what its columns are."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.checks.values import MOST
from kbp.data.formats import frames
from kbp.data.splitting import some
from kbp.data.table import Column, TableColumns
from kbp.errors import UserError

# Categories of a column; with the unknown one they are what a byte can hold.
MOST_CATEGORIES = 254
LEAVE_OUT = "; leave it out with data.ignore"


@dataclass(frozen=True)
class EncodedRows:
    """Rows as models take them.

    Attributes:
        inputs: float32 `(rows, columns)`.
        filled: how many missing numbers were filled in.
        unknown: of columns with unknown categories, these, of each row.
        absent: of columns with rows that have no category, how many.
    """

    inputs: np.ndarray
    filled: int
    unknown: dict[str, list[str]]
    absent: dict[str, int]


def encode(
    path: str | Path,
    frame: pd.DataFrame,
    columns: TableColumns,
    *,
    decimal: str = ".",
) -> EncodedRows:
    """Return a file's rows as models take them.

    Args:
        path: of the file, for errors.
        frame: of `read_frame`.
        columns: which the file must have; it may have others.
        decimal: the decimal mark, one of `frames.DECIMALS`.

    Raises:
        UserError: a column is missing, a value is no number or too far from
            the others, or one is missing and `columns.missing` says to refuse
            that.
    """
    missing = [c.name for c in columns.features if c.name not in frame.columns]
    if missing:
        raise UserError(
            f"{path}: has no column {some(map(repr, missing))}; it has "
            f"{', '.join(map(str, frame.columns[:100]))}"
        )
    inputs = np.empty((len(frame), len(columns.features)), "float32")
    filled, unknown, absent = 0, {}, {}
    for place, column in enumerate(columns.features):
        found = frames.without(frame[column.name], columns.missing_values)
        if column.is_number:
            values = frames.numbers(
                path,
                found,
                decimal=decimal,
                advice="the model takes numbers there",
                may_miss=False,  # the model knows which those are
            )
            empty = np.isnan(values)
            if empty.any() and columns.missing == "refuse":
                raise UserError(
                    f"{path}, line {found.index[np.argmax(empty)]}: has no "
                    f"number in column {column.name!r}, as {empty.sum()} of "
                    f'{len(empty)} lines; data.missing = "mean" fills in the '
                    "mean of the training rows."
                )
            filled += int(empty.sum())
            values = np.where(empty, column.mean, values)
            check_near(path, found, values, column)
        else:
            text = frames.words(found)
            numbers = {name: i for i, name in enumerate(column.categories, 1)}
            values = text.map(numbers).to_numpy("float64", na_value=0)
            strange = text[(values == 0) & text.notna().to_numpy()]
            if text.isna().any():
                absent[column.name] = int(text.isna().sum())
            if len(strange):
                unknown[column.name] = strange.tolist()
        inputs[:, place] = values
    return EncodedRows(inputs, filled, unknown, absent)


def check_near(
    path: str | Path,
    found: "pd.Series[Any]",
    values: np.ndarray,
    column: Column,
) -> None:
    """Refuse numbers that float32 cannot compute with beside the others.

    Args:
        path: of the file, for errors.
        found: the column, whose index has the numbers of the lines.
        values: its numbers.
        column: what was learned from the training rows.

    Raises:
        UserError: a standardized value's square is infinite in float32.
    """
    with np.errstate(all="ignore"):  # the next lines look at what came out
        far = ~(np.abs((values - column.mean) / column.deviation) < MOST)
    if far.any():
        first = int(np.argmax(far))
        raise UserError(
            f"{path}, line {found.index[first]}: {values[first]:g} in column "
            f"{column.name!r} is too far from the training rows' "
            f"{column.mean:g} for float32; correct it, or leave the line out."
        )


def holds_words(column: "pd.Series[Any]", decimal: str) -> bool:
    """Say whether most of a column is no numbers.

    Args:
        column: of a frame of `read_frame`.
        decimal: the decimal mark, one of `frames.DECIMALS`.
    """
    return frames.share_of_numbers(column, decimal=decimal) < 0.5


def learn_categories(
    path: Path, column: "pd.Series[Any]", train: np.ndarray
) -> Column:
    """Return which categories a column has.

    Args:
        path: of the file, for errors.
        column: of a frame of `read_frame`.
        train: places of the training rows.

    Raises:
        UserError: there are too many, or one alone.
    """
    frames.check_formulas(path, column)
    text = frames.words(column)
    known = text.iloc[train]
    names = sorted(known.dropna().unique())
    most = min(MOST_CATEGORIES, max(2, len(known) // 2))
    if len(names) > most:
        raise UserError(
            f"{path}: column {text.name!r} has {len(names)} categories in "
            f"{len(known)} training rows, such as {some(names[:3])}; at most "
            f"{most} can be learned. Names, identifiers and dates are none: "
            f"leave it out with data.ignore = [{json.dumps(text.name)}]."
        )
    if not names or (len(names) == 1 and known.notna().all()):
        raise UserError(
            f"{path}: column {text.name!r} has no two different values in the "
            f"training rows{LEAVE_OUT}."
        )
    return Column(str(text.name), tuple(names))


def learn_numbers(
    path: Path, name: str, values: np.ndarray, advice: str = LEAVE_OUT
) -> Column:
    """Return mean and deviation of a column.

    Args:
        path: of the file, for errors.
        name: of the column.
        values: float64, of the training rows; NaN where one is missing.
        advice: what to do about a constant column, for errors.

    Raises:
        UserError: they do not differ, or by too little for float32.
    """
    try:
        return Column.of_numbers(name, values, advice)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
