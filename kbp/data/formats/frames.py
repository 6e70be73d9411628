"""Tables in files, read by pandas: CSV as people write it, and Parquet."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp._utils.machine import memory
from kbp.data.splitting import some
from kbp.data.tables.csv_records import (
    MOST_COLUMNS,
    CsvRecords,
    check_file,
    crowded,
)
from kbp.errors import UserError, nearest

DECIMALS = (".", ",")
EMPTY = ("", "na", "nan", "null", "none", "n/a", "?", "-")
_LARGEST = 1e100  # of which sums of squares are finite
MEMORY_OF_A_BYTE = 16  # of a file of short fields
_MOST_NAMED = 5  # words of a column that may stand for missing values
THOUSANDS = r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
# What a spreadsheet shows for a formula, or writes in place of its value.
_FORMULA = r"=[A-Za-z$(+\-@\d].*|#(?:REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!)"


def read_frame(
    path: str | Path, *, separator: str = "", encoding: str = "utf-8"
) -> pd.DataFrame:
    """Read a file's columns, those of a CSV file as text.

    Args:
        path: of a Parquet file, `.parquet`, or of a CSV file, whose first line
            names the columns; a byte order mark is passed over, and a line
            before it that says which separator follows, such as `sep=;`.
        separator: of a CSV file's fields; `""` for the one of `SEPARATORS` that
            the names' line holds most, outside quotes.
        encoding: of a CSV file, such as `"cp1252"`.

    Returns:
        The columns; the index are the numbers of the lines, or of a Parquet
        file's rows, from 1. `attrs["separator"]` is that of a CSV file.

    Raises:
        UserError: the file is missing, empty or no such file, its lines differ
            in fields, it has more than `MOST_COLUMNS` columns, or two columns
            have one name.
    """
    path = Path(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    records = CsvRecords(path, separator, encoding)
    (_, header), *rows = _lines(path, records)
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: has {len(row)} fields, the first line "
                f"{len(header)}."
            )
    frame = pd.DataFrame(
        [row for _, row in rows], index=[line for line, _ in rows], dtype=str
    )
    frame = checked(path, frame, [name.strip() for name in header])
    frame.attrs["separator"] = records.separator
    return frame


def _lines(path: Path, records: CsvRecords) -> list[tuple[int, list[str]]]:
    """Return the fields of the lines, up to the last that holds any.

    Returns:
        Numbers of lines and their fields; lines of nothing at all are passed
        over, where there are several columns.
    """
    if (size := check_file(path)) > memory() // MEMORY_OF_A_BYTE:
        raise UserError(
            f"{path}: has {size:,} bytes; {memory() // MEMORY_OF_A_BYTE:,} "
            "are what the memory takes, as fields. Give fewer rows, or a "
            'Parquet file; to train, data.cache = "disk" takes any size.'
        )
    lines = [*records]
    while lines and not any(lines[-1][1]):
        lines.pop()
    if not lines:
        raise UserError(f"{path}: is empty.")
    one_column = len(lines[0][1]) == 1
    return [(line, row or [""]) for line, row in lines if row or one_column]


def find_column(path: str | Path, frame: pd.DataFrame, name: str) -> Any:
    """Return a column by its name.

    Raises:
        UserError: there is none.
    """
    if name not in frame.columns:
        raise UserError(
            f"{path}: has no column {name!r}{nearest(name, frame.columns)}"
        )
    return frame[name]


def words(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column as text without blanks around it, NaN where none is.

    Whole numbers are told without a point, also of a Parquet file's floats,
    which integers become where one is missing.
    """
    text = column.astype(str).str.strip()
    if pd.api.types.is_float_dtype(column):
        text = text.str.removesuffix(".0")
    return text.mask(column.isna() | text.str.lower().isin(EMPTY))


def check_formulas(path: str | Path, column: "pd.Series[Any]") -> None:
    """Raise a UserError for the first cell that holds a formula, or its error.

    Args:
        path: of the file, for errors.
        column: of categories, in which any text has a meaning.
    """
    text = words(column)
    wrong = text.str.fullmatch(_FORMULA).fillna(False).to_numpy(bool)
    for at in np.flatnonzero(wrong)[:1]:
        raise UserError(
            f"{path}, line {text.index[at]}: {text.iloc[at]!r} in column "
            f"{text.name!r} is a formula or its error; save the file with "
            "values."
        )


def without(
    column: "pd.Series[Any]", missing: Sequence[str]
) -> "pd.Series[Any]":
    """Return a column in which some values count as missing.

    Args:
        column: of a frame of `read_frame`.
        missing: the values, as text; one that is a number, such as `"-999"`,
            stands for all its spellings, such as -999.0.
    """
    if not missing:
        return column
    text = column.astype(str).str.strip()
    absent = text.isin(missing)
    named = pd.to_numeric(pd.Series(missing, dtype=object), errors="coerce")
    values = pd.to_numeric(
        text.str.replace(",", ".", regex=False), errors="coerce"
    )
    return column.mask(absent | values.isin(named.dropna()))


def numbers(
    path: str | Path,
    column: "pd.Series[Any]",
    *,
    decimal: str = ".",
    advice: str = "leave the column out of the keys that name columns, such as "
    "`target`, and name that of times in `time_column`",
    may_miss: bool = True,
) -> np.ndarray:
    """Return a column of numbers, NaN where one is missing.

    Args:
        path: of the file, for errors.
        column: of a frame of `read_frame`.
        decimal: the decimal mark, one of `DECIMALS`.
        advice: what to do about a column of words, for errors.
        may_miss: whether words may be named as missing values.

    Returns:
        float64 `(rows,)`.

    Raises:
        UserError: a value is no finite number; the message names its line.
    """
    text, values, wrong = _parsed(column, decimal)
    if wrong.any():
        at = int(np.argmax(wrong))
        found = text.iloc[at]
        if not any(mark.isdigit() for mark in found):
            if may_miss and 2 * wrong.sum() < text.notna().sum():
                advice = _about_markers(text[wrong], advice)
        elif decimal == "." and "," in found:
            advice = about_commas(text)
        elif decimal == "," and "." in found:
            advice = "decimal is a comma, and points between digits are none"
        raise UserError(
            f"{path}, line {column.index[at]}: {found!r} in column "
            f"{column.name!r} is no finite number below {_LARGEST:g}; {advice}."
        )
    return values


def _about_markers(wrong: "pd.Series[Any]", advice: str) -> str:
    """Say what to do about words among numbers, which may say that none is.

    Args:
        wrong: the words of a column that are no numbers.
        advice: what to do if they do not.
    """
    if wrong.str.fullmatch(_FORMULA).any():
        return "save the file with values where it has formulas and errors"
    names = wrong[~wrong.str.contains(r"\d")].unique()
    listed = json.dumps(names[:_MOST_NAMED].tolist(), ensure_ascii=False)
    more = " and so on" if len(names) > _MOST_NAMED else ""
    return (
        f"if it stands for a missing value, say missing_values = {listed}{more}"
        f"; else {advice}"
    )


def about_commas(text: "pd.Series[Any]") -> str:
    """Say what to do about numbers with commas: decimal marks, or thousands.

    Args:
        text: of a column, see `words`.

    Example:
    >>> import pandas as pd
    >>> about_commas(pd.Series(["1,5", "1,234"]))
    'decimal = "," reads decimal commas'
    """
    held = text[text.str.contains(",", regex=False).fillna(False).astype(bool)]
    grouped = held.str.fullmatch(THOUSANDS)
    decimal = 'decimal = "," reads decimal commas'
    if not grouped.all():
        return decimal
    first = str(held.iloc[0])
    write = f"write {first.replace(',', '')} for {first}"
    if (held.str.count(",") > 1).any() or held.str.contains(
        ".", regex=False
    ).any():
        return f"commas that group thousands are not read: {write}"
    return f"if the comma groups thousands, {write}; else {decimal}"


def share_of_numbers(column: "pd.Series[Any]", *, decimal: str = ".") -> float:
    """Return which share of the values that are not missing are numbers.

    Args:
        column: of a frame of `read_frame`.
        decimal: the decimal mark, one of `DECIMALS`.

    Returns:
        From 0 to 1; 1 if all are missing.
    """
    text, _, wrong = _parsed(column, decimal)
    return 1 - wrong.sum() / max(1, text.notna().sum())


def _parsed(
    column: "pd.Series[Any]", decimal: str
) -> tuple["pd.Series[Any]", np.ndarray, np.ndarray]:
    """Return a column's words, its numbers, and which words are no numbers."""
    text = words(column)
    plain = text
    if decimal == ",":
        # A point is no decimal mark there: 1.234 may well be a thousand.
        plain = text.str.replace(".", "x", regex=False)
        plain = plain.str.replace(",", ".", regex=False)
    values = pd.to_numeric(plain, errors="coerce")  # not Python's 1_000
    values = values.to_numpy("float64", na_value=np.nan)
    return text, values, text.notna().to_numpy() & ~(np.abs(values) < _LARGEST)


def _read_parquet(path: Path) -> pd.DataFrame:
    with parquet_errors(path):
        frame = pd.read_parquet(path)
    return numbered(path, frame)


@contextlib.contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn errors of reading a Parquet file into those of one line."""
    check_file(path)
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{path}: Parquet needs a package more: pip install 'kbp[parquet]'"
        ) from error
    except Exception as error:  # pyarrow's errors have many kinds
        raise UserError(f"{path}: cannot be read: {error}") from error


def numbered(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a Parquet file's frame with its rows' numbers as index."""
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return checked(path, frame, [str(name) for name in frame.columns])


def checked(path: Path, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Give a frame the names of its columns.

    Raises:
        UserError: two have one name, or there are too many, or no rows.
    """
    if len(names) > MOST_COLUMNS:
        raise crowded(path, len(names))
    counts = Counter(name for name in names if name)
    twice = {name for name, count in counts.items() if count > 1}
    if twice:
        raise UserError(f"{path}: two columns have one name: {some(twice)}")
    if not len(frame):
        raise UserError(f"{path}: holds no rows.")
    return frame.set_axis(names, axis="columns")
