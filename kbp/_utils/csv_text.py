"""CSV text that a spreadsheet takes for text, whoever named what is in it."""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

_NUMBER = r"[+-]?[\d.,\s]*(?:[eE][+-]?\d+)?%?"


def plain_cell(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula.

    Text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, and is
    no number, gets an apostrophe in front.

    Args:
        cell: text, or anything else, which is left alone.

    Example:
    >>> [plain_cell(cell) for cell in ("=1+1", "-1,5", "-x", "a=b", -1)]
    ["'=1+1", '-1,5', "'-x", 'a=b', -1]
    """
    if not isinstance(cell, str) or not cell.startswith(tuple("=+-@\t\r")):
        return cell
    return cell if re.fullmatch(_NUMBER, cell) else f"'{cell}"


def as_csv(rows: Iterable[Iterable[Any]]) -> str:
    r"""Return rows as CSV text, its cells plain.

    Args:
        rows: the names of the columns first.

    Example:
    >>> as_csv([["file", "class"], ["=a.png", "cat, black"]])
    'file,class\n\'=a.png,"cat, black"\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(plain_cell, row) for row in rows)
    return text.getvalue()
