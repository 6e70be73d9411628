"""How prediction intervals do, and how they adapt as outcomes become known."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from kbp.data.lazy import Array
from kbp.tasks.forecasts.intervals import FLOOR, RATE, Intervals


@dataclass(frozen=True)
class Walk:
    """Intervals of windows one row apart, each made before the next outcome.

    Attributes:
        coverage: share of the outcomes inside, `(levels, columns)`.
        width: mean whole width, standardized, `(levels, columns)`.
        unit_width: mean whole width in the columns' units.
        factors: of the widths after the last window, `(levels, columns)`.
    """

    coverage: np.ndarray
    width: np.ndarray
    unit_width: np.ndarray
    factors: np.ndarray


def walk(
    intervals: Intervals,
    past: Array,
    outputs: np.ndarray,
    labels: Array,
    *,
    scale: np.ndarray,
    floor: np.ndarray | float = FLOOR,
    rate: float = RATE,
) -> Walk:
    """Walk through windows in their order, and adapt the widths row by row.

    Each row, when it is known, says which of the forecasts that were made of it
    missed it. The widths of a column are multiplied by

        exp(rate * (share of misses - (1 - level)))

    so that misses wider them and coverage approaches the level also where the
    errors change over time. Only what is known at a window's end decides about
    its intervals. A rate of 0 leaves the widths as they were calibrated.

    Args:
        intervals: as calibrated.
        past: what a model saw of the columns, `(windows, lookback, columns)`,
            each window one row after the one before.
        outputs: what it forecast, `(windows, horizon, columns)`.
        labels: what came; NaN where that is not known, which counts nowhere.
        scale: of the columns in their units; broadcasts with
            `(windows, 1, columns)`.
        floor: least deviation of a window.
        rate: of the adaptation, for each row.

    Reference:
        Gibbs and Candes, Adaptive Conformal Inference Under Distribution Shift,
        2021; Angelopoulos et al., Conformal PID Control for Time Series
        Prediction, 2023, for tracking the quantile itself.
    """
    count, horizon, columns = labels.shape
    spread = intervals.deviations(past, floor)
    units = np.broadcast_to(scale, (count, 1, columns))[:, 0]
    allowed = 1 - np.array(intervals.levels)[:, None] / 100
    # Misses of each row, by all forecasts of it.
    misses = np.zeros((count + horizon, len(allowed), columns))
    growth = np.zeros(misses.shape[1:])
    width, unit_width = np.zeros((2, *growth.shape))
    known = 0
    for window, came in enumerate(labels):
        growth = growth + rate * _excess(misses, window, horizon, allowed)
        half = np.exp(growth)[:, None] * intervals.widths * spread[window]
        half = np.maximum.accumulate(half)  # a level holds those below it
        gaps = np.abs(came - outputs[window])
        known += np.isfinite(came[:, 0]).sum()
        missed = gaps > half  # (levels, horizon, columns)
        misses[window : window + horizon] += missed.swapaxes(0, 1)
        mean = 2 * half.mean(axis=1)
        width += mean
        unit_width += mean * units[window]
    growth = growth + rate * _excess(misses, count, horizon, allowed)
    return Walk(
        1 - misses.sum(axis=0) / max(1, known),
        width / max(1, count),
        unit_width / max(1, count),
        np.exp(growth),
    )


def walk_series(
    intervals: Intervals,
    past: Array,
    outputs: np.ndarray,
    labels: Array,
    *,
    scale: np.ndarray,
    members: np.ndarray | None,
    **options: Any,
) -> Walk:
    """Walk through the windows of each series by itself, see `walk`.

    Args:
        intervals: see `walk`, as the next ones.
        past: of all series.
        outputs: of all series.
        labels: of all series.
        scale: of all series.
        members: which series each window is of, `None` if all are of one.
        **options: of `walk`.

    Returns:
        Means over all windows; the factors are those of the last series.
    """
    if members is None:
        return walk(intervals, past, outputs, labels, scale=scale, **options)
    ends = [*(1 + np.flatnonzero(np.diff(members))), len(members)]
    scale = np.broadcast_to(scale, (len(members), 1, past.shape[-1]))
    sizes = np.diff([0, *ends])
    names = [field.name for field in dataclasses.fields(Walk)]
    shape = len(sizes), len(intervals.levels), past.shape[-1]
    walks = {name: np.empty(shape) for name in names}
    for place, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        part = slice(end - size, end)
        found = walk(
            intervals,
            past[part],
            outputs[part],
            labels[part],
            scale=scale[part],
            **options,
        )
        for name in names:
            walks[name][place] = getattr(found, name)
    means = {x: np.average(walks[x], 0, sizes) for x in names}
    return Walk(**{**means, "factors": walks["factors"][-1]})


def outcomes(values: np.ndarray, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Return the rows after windows, NaN where a series has ended.

    Args:
        values: of a series, `(rows, columns)`.
        ends: the rows before which the windows end.
        horizon: rows after each.

    Returns:
        `(windows, horizon, columns)`.

    Example:
    >>> import numpy as np
    >>> from kbp.tasks.forecasts.walk import outcomes
    >>> outcomes(np.arange(4.0)[:, None], np.array([2, 3]), 2)[..., 0]
    array([[ 2.,  3.],
           [ 3., nan]])
    """
    longer = np.pad(
        values.astype("f8"), ((0, horizon), (0, 0)), constant_values=np.nan
    )
    return longer[ends[:, None] + np.arange(horizon)]


def _excess(
    misses: np.ndarray, window: int, horizon: int, allowed: np.ndarray
) -> np.ndarray:
    """Return how far too many forecasts missed the last row of a window."""
    made = min(window, horizon)
    if not made:
        return np.zeros_like(misses[0])
    return (misses[window - 1] - made * allowed) / horizon
