"""Errors of forecasts of many series, each for itself."""

from collections.abc import Sequence

import numpy as np

from kbp.reports.forecast_tables import as_cell
from kbp.reports.result_table import ResultTable
from kbp.tasks.forecasts.errors import WindowErrors

_MOST = 20  # rows of the table


def spread(scale: np.ndarray) -> float:
    """Return how many times as much as another a series of a column varies.

    Args:
        scale: standard deviations in the training rows, `(series, columns)`.

    Returns:
        The most of any column; 1 for one series.

    Example:
    >>> import numpy as np
    >>> spread(np.array([[2.0, 10.0], [8.0, 20.0]]))
    4.0
    """
    rows = np.atleast_2d(scale)
    return float((rows.max(axis=0) / rows.min(axis=0)).max())


def series_table(
    series: Sequence[str],
    columns: Sequence[str],
    errors: WindowErrors,
    members: np.ndarray,
) -> dict[str, ResultTable]:
    """Return the table of the errors of each series.

    Args:
        series: names of the series.
        columns: names of the columns.
        errors: of all windows.
        members: which series each window is of, `(windows,)`.

    Returns:
        A table by its heading: of all series in their order, or of many those
        with the largest MASE, the largest first.
    """
    several = len(columns) > 1
    found, order = [], np.argsort(members, kind="stable")
    places, firsts = np.unique(members[order], return_index=True)
    for place, which in zip(places, np.split(order, firsts[1:]), strict=True):
        own = errors.mean(which)
        for index, column in enumerate(columns):
            name = series[place]
            found.append(
                (
                    f"{name}, {column}" if several else name,
                    len(which),
                    own.unit_absolute[index],
                    own.unit_squared[index] ** 0.5,
                    own.scaled[index],
                )
            )
    remark = (
        "MAE and RMSE are in the data's units; MASE divides by the seasonal "
        "naive forecast's error in the series' own training rows."
    )
    if len(found) > _MOST:
        scaled = np.array([row[-1] for row in found])
        scaled = np.where(np.isnan(scaled), -np.inf, scaled)  # those come last
        order = np.argsort(-scaled, kind="stable")[:_MOST]
        remark = (
            f"The {_MOST} of {len(found)} with the largest MASE; the median "
            f"of all is {as_cell(np.median(scaled))}. {remark}"
        )
        found = [found[place] for place in order]
    return {
        "Errors by series": ResultTable(
            ("series", "windows", "MAE", "RMSE", "MASE"),
            tuple(
                (name, f"{count}", *map(as_cell, values))
                for name, count, *values in found
            ),
            remark,
        )
    }
