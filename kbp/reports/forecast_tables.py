"""Tables of forecasts: their errors, those of others, their intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kbp.reports.result_table import COMPARABLE, ResultTable
from kbp.tasks.forecasts.errors import SPANS, Errors, compare
from kbp.tasks.forecasts.intervals import Intervals
from kbp.tasks.forecasts.walk import Walk

MODEL = "model"
# Series that vary by amounts further apart have no mean error in their units.
MOST_SPREAD = 3.0
_RANKS = {
    "better": "Better than the model: {}.",
    "as good": "As good as the model: {}.",
    "undecided": "Cannot be told apart on this test part: {}.",
    "worse": "Worse than the model: {}.",
}


def error_tables(
    names: Sequence[str],
    model: Errors,
    others: Mapping[str, Errors],
    *,
    horizon: int,
    season: str,
    spread: float = 1.0,
) -> dict[str, ResultTable]:
    """Return the tables of a model's errors, and of other forecasts'.

    Args:
        names: of the columns.
        model: errors of the model.
        others: errors of other forecasts of the same windows, by name.
        horizon: rows that were forecast.
        season: the season of MASE, in words.
        spread: how many times as much as another one of the series varies.
    """
    every = {MODEL: model, **others}
    scaled = {name: with_all(e.scaled) for name, e in every.items()}
    return {
        f"Errors on the test windows (MASE: season of {season})": _own_table(
            names, model, scaled[MODEL], spread
        ),
        "Other forecasts of the same windows": ResultTable(
            (
                *("forecast", "MSE, standardized", "MAE, standardized"),
                *("RMSE, standardized", "MASE"),
            ),
            _rows(
                every,
                (
                    [
                        errors.squared.mean(),
                        errors.absolute.mean(),
                        errors.squared.mean() ** 0.5,
                        scaled[name][-1],
                    ]
                    for name, errors in every.items()
                ),
            ),
            verdict(model, others, horizon),
        ),
        "MASE by column": ResultTable(
            ("column", *scaled),
            _rows((*names, "all"), zip(*scaled.values(), strict=True)),
            "MASE is the mean of absolute errors, each over the mean absolute "
            "error of the seasonal naive forecast in the training rows of its "
            f"series, with a season of {season}.{_absent(others)}",
        ),
    }


def _own_table(
    names: Sequence[str], model: Errors, scaled: np.ndarray, spread: float
) -> ResultTable:
    """Return the table of a model's errors.

    Series that vary by very different amounts have no mean in their units: it
    would be that of the largest.
    """
    mixed, unlike = len(names) > 1, spread > MOST_SPREAD
    absolute, squared = model.unit_absolute, model.unit_squared
    if unlike:
        absolute, squared = np.full((2, len(names)), np.nan)
    columns = [
        with_all(absolute, mixed=mixed),
        with_all(squared, mixed=mixed) ** 0.5,
        with_all(model.absolute),
        with_all(model.squared) ** 0.5,
        scaled,
    ]
    return ResultTable(
        (
            *("column", "MAE", "RMSE"),
            *("MAE, standardized", "RMSE, standardized", "MASE"),
        ),
        _rows((*names, "all"), zip(*columns, strict=True)),
        f"There is no MAE and RMSE of all series in the data's units: some "
        f"vary {spread:,.0f} times as much as others, and would be all that "
        "counts. The table of errors by series has them."
        if unlike
        else "",
    )


def start_table(
    losses: Mapping[str, float], error: str
) -> dict[str, ResultTable]:
    """Return the table of what a linear skip can start at.

    Args:
        losses: validation loss of each forecast, by name.
        error: name of the loss.
    """
    best = min(losses, key=losses.__getitem__)
    return {
        "Where the linear skip can start": ResultTable(
            ("forecast", f"validation loss, {error}"),
            _rows(losses, ([x] for x in losses.values())),
            f"Training starts at {best!r}, whose validation loss is the least, "
            "and keeps what is never worse than that on the validation rows.",
        )
    }


def interval_tables(
    intervals: Intervals, still: Walk, adapted: Walk, spread: float = 1.0
) -> dict[str, ResultTable]:
    """Return the tables of how prediction intervals did on the test windows.

    Args:
        intervals: as calibrated.
        still: their coverage and width.
        adapted: those of intervals that adapt as outcomes become known.
        spread: how many times as much as another one of the series varies.
    """
    unlike = spread > MOST_SPREAD
    levels = [f"{x:g} %" for x in intervals.levels]
    ways = {"as calibrated": still, "adapted row by row": adapted}
    return {
        "Prediction intervals on the test windows": ResultTable(
            (
                *("nominal coverage", "coverage", "least of a column"),
                *("most of a column", "mean width, standardized"),
            ),
            tuple(
                (
                    f"{level}, {way}",
                    f"{found.coverage[place].mean():.1%}",
                    f"{found.coverage[place].min():.1%}",
                    f"{found.coverage[place].max():.1%}",
                    as_cell(found.width[place].mean()),
                )
                for place, level in enumerate(levels)
                for way, found in ways.items()
            ),
            f"Calibrated on {intervals.windows} validation windows, and scaled "
            f"by the deviation of the last {intervals.rows} rows. Adapted: "
            "each row that becomes known changes the widths by what missed it, "
            "as it does in `kbp forecast`.",
        ),
        "Prediction intervals by column, adapted": ResultTable(
            (
                "column",
                *(
                    heading
                    for x in levels
                    for heading in (f"{x}: coverage", "mean width", "in SD")
                ),
            ),
            tuple(
                (name, *_interval_cells(adapted, column, unlike))
                for column, name in enumerate(intervals.names)
            ),
            "Widths are in standard deviations of the training rows (SD)"
            f"{', for series vary too unlike for means' if unlike else ', and'}"
            " in the columns' units.",
        ),
    }


def _interval_cells(found: Walk, column: int, unlike: bool) -> list[str]:
    return [
        cell
        for coverage, width, standardized in zip(
            found.coverage[:, column],
            found.unit_width[:, column],
            found.width[:, column],
            strict=True,
        )
        for cell in (
            f"{coverage:.1%}",
            "-" if unlike else as_cell(width),
            as_cell(standardized),
        )
    ]


def verdict(model: Errors, others: Mapping[str, Errors], horizon: int) -> str:
    """Say which of other forecasts are better than a model's, or as good.

    Args:
        model: errors of the model.
        others: errors of other forecasts of the same windows, by name.
        horizon: rows that were forecast.
    """
    mean = max(model.windows.mean(), np.finfo("f8").tiny)
    ranks: dict[str, list[str]] = {rank: [] for rank in _RANKS}
    for name, other in others.items():
        share = other.windows.mean() / mean - 1
        rank = compare(model, other, horizon)
        ranks[rank].append(f"{name} (MSE {share:+.1%})")
    said = [
        _RANKS[rank].format(", ".join(found))
        for rank, found in ranks.items()
        if found
    ]
    blocks = len(model.windows) // horizon
    return (
        f"{' '.join(said)} As good: the MSE differs by less than 1 %, or by "
        f"less than {COMPARABLE:.0%} and the 95 % interval of a "
        f"Diebold-Mariano test over {blocks} "
        f"block{'' if blocks == 1 else 's'} of {horizon} windows. Cannot be "
        "told apart: it differs by more, but not by more than that interval."
    )


def with_all(values: np.ndarray, *, mixed: bool = False) -> np.ndarray:
    """Return values of columns, and their mean after them.

    Args:
        values: `(columns,)`.
        mixed: whether they have units of their own, and so no mean.
    """
    return np.append(values, np.nan if mixed else values.mean())


def as_cell(value: float) -> str:
    """Return a number with four digits that count, `-` for none.

    Example:
    >>> from kbp.reports.forecast_tables import as_cell
    >>> [as_cell(x) for x in (0.012346, 12.345, 123456.7, float("nan"))]
    ['0.01235', '12.35', '123,457', '-']
    """
    if not math.isfinite(value):
        return "-"
    digits = 3 - math.floor(math.log10(abs(value))) if value else 3
    return f"{value:,.{max(0, digits)}f}"


def _rows(
    names: Iterable[str], rows: Iterable[Iterable[float]]
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (name, *map(as_cell, row))
        for name, row in zip(names, rows, strict=True)
    )


def _absent(others: Mapping[str, Errors]) -> str:
    absent = [x for s in SPANS if (x := f"repeat last {s}") not in others]
    if not absent:
        return ""
    return (
        f" There is no forecast {' or '.join(map(repr, absent))}: the step of "
        "the rows is unknown or does not divide it, or the look-back does not "
        "hold it."
    )
