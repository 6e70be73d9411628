"""Pieces of the Markdown tables that benchmarks make."""

import math
import statistics
from collections.abc import Iterable, Sequence


def row(cells: Iterable[str]) -> str:
    """Return a row of a table.

    Example:
    >>> from kbp.benchmarks.core.markdown import row
    >>> row(["Adam", "12"])
    '| Adam | 12 |'
    """
    return f"| {' | '.join(cells)} |"


def table(
    titles: Sequence[str], rows: Iterable[Iterable[str]], *, texts: int = 1
) -> list[str]:
    """Return the lines of a table.

    Args:
        titles: of the columns.
        rows: the cells of each row.
        texts: number of columns that hold text; the others hold numbers, which
            are aligned at the right.

    Example:
    >>> from kbp.benchmarks.core.markdown import table
    >>> table(["optimizer", "steps"], [["Adam", "12"]])
    ['| optimizer | steps |', '| --- | ---: |', '| Adam | 12 |']
    """
    numbers = len(titles) - texts
    marks = ["---"] * texts + ["---:"] * numbers
    return [row(cells) for cells in (titles, marks, *rows)]


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, 0 for a single value.

    It is NaN where a value is not finite.
    """
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


def spread(values: Sequence[float], form: str = ".2%") -> str:
    """Return mean and standard deviation as text, or "nan".

    Args:
        values: one or more; of a single one there is no deviation.
        form: the format of a number.

    Example:
    >>> from kbp.benchmarks.core.markdown import spread
    >>> spread([0.25, 0.75])
    '50.00% ± 35.36%'
    >>> spread([0.25])
    '25.00%'
    """
    around = deviation(values)
    if math.isnan(around):
        return "nan"
    mean = f"{statistics.fmean(values):{form}}"
    return f"{mean} ± {around:{form}}" if len(values) > 1 else mean


def latency(milliseconds: float | None, base: float | None) -> str:
    """Return a latency and how many times as fast as another one it is.

    Args:
        milliseconds: `None` if it was not measured.
        base: the other one's, likewise.
    """
    if milliseconds is None or base is None:
        return "-"
    return f"{milliseconds:.3f} ms ({base / milliseconds:.2f}x)"
