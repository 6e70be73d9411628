"""Errors of forecasts, beside those of simple forecasts of the same windows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from scipy import stats

from kbp.data.lazy import Array
from kbp.data.series import SeriesSplits, Windows
from kbp.reports.result_table import COMPARABLE

Forecast = Callable[[np.ndarray], np.ndarray]

_CHUNK = 256  # windows at a time, which bounds the memory
_CONFIDENCE = 0.95
# A forecast whose squared error is less by no more than this share is as good.
_NEGLIGIBLE = 0.01
# A seasonal error below, in standard deviations, is float32's rounding.
_NO_ERROR = 1e-6
SPANS = {"day": timedelta(days=1), "week": timedelta(weeks=1)}


@dataclass(frozen=True)
class Errors:
    """Mean errors of forecasts, of standardized values and in their units.

    Attributes:
        absolute: mean absolute error of each column, standardized.
        squared: mean squared error of each column, standardized.
        unit_absolute: mean absolute error in the columns' units.
        unit_squared: mean squared error in the columns' units.
        scaled: mean absolute scaled error of each column, MASE; NaN where no
            window has a seasonal error to divide by.
        windows: mean squared error of each window, standardized.
    """

    absolute: np.ndarray
    squared: np.ndarray
    unit_absolute: np.ndarray
    unit_squared: np.ndarray
    scaled: np.ndarray
    windows: np.ndarray


@dataclass(frozen=True)
class WindowErrors:
    """Errors of forecasts, window by window, `(windows, columns)` in float64.

    Attributes:
        absolute: mean absolute error, standardized.
        squared: mean squared error, standardized.
        scale: of the columns in their units.
        seasonal: the error that the absolute one is divided by, see
            `seasonal_error`.
    """

    absolute: np.ndarray
    squared: np.ndarray
    scale: np.ndarray
    seasonal: np.ndarray

    def mean(self, which: np.ndarray | slice = slice(None)) -> Errors:
        """Return the means over some windows, by default over all.

        Args:
            which: of the windows.
        """
        absolute, squared, scale, seasonal = (
            x[which]
            for x in (self.absolute, self.squared, self.scale, self.seasonal)
        )
        known = seasonal > _NO_ERROR
        shares = np.where(known, absolute / np.where(known, seasonal, 1), 0)
        with np.errstate(invalid="ignore"):  # no window has a seasonal error
            scaled = shares.sum(axis=0) / known.sum(axis=0)
        return Errors(
            absolute.mean(axis=0),
            squared.mean(axis=0),
            (absolute * scale).mean(axis=0),
            (squared * np.square(scale)).mean(axis=0),
            scaled,
            squared.mean(axis=1),
        )


def errors_of(
    forecast: Callable[[slice], np.ndarray],
    labels: Array,
    scale: np.ndarray,
    seasonal: np.ndarray,
) -> WindowErrors:
    """Return the errors of forecasts, in float64 and window by window.

    Args:
        forecast: `forecast(part)` gives `(windows, horizon, columns)` for a
            slice of the windows.
        labels: what came, `(windows, horizon, columns)`, standardized.
        scale: of the columns in their units; broadcasts with
            `(windows, 1, columns)`.
        seasonal: likewise, the errors that MASE divides by.

    Example:
    >>> import numpy as np
    >>> from kbp.tasks.forecasts.errors import errors_of
    >>> labels = np.array([[[1.0], [3.0]]])
    >>> zeros = np.zeros_like(labels)
    >>> errors = errors_of(
    ...     lambda part: zeros[part], labels, np.full((1,), 10), np.full(1, 4.0)
    ... ).mean()
    >>> errors.absolute, errors.unit_squared, errors.scaled
    (array([2.]), array([500.]), array([0.5]))
    """
    count, horizon, columns = labels.shape
    scale, seasonal = (
        np.broadcast_to(np.asarray(x, "f8"), (count, 1, columns))[:, 0]
        for x in (scale, seasonal)
    )
    absolute, squared = np.empty((2, count, columns))  # of each window
    for part in parts_of(count):
        gaps = np.subtract(forecast(part), labels[part], dtype="f8")
        squared[part] = np.einsum("whc,whc->wc", gaps, gaps)
        absolute[part] = np.abs(gaps, out=gaps).sum(axis=1)
    return WindowErrors(absolute / horizon, squared / horizon, scale, seasonal)


def parts_of(count: int) -> list[slice]:
    """Return slices of a bounded number of windows."""
    return [slice(i, i + _CHUNK) for i in range(0, count, _CHUNK)]


def seasonal_error(train: Windows, season: int) -> np.ndarray:
    """Return the mean absolute error of seasonal naive forecasts in sample.

    It is the scale of the mean absolute scaled error, MASE: the mean of
    `|y_t - y_(t - season)|` over the training rows but the first `season`,
    which have nothing to be forecast by, of each series for itself.

    Args:
        train: all windows of the training rows.
        season: rows between a value and the one it is forecast by, up to the
            look-back.

    Returns:
        `(series, columns)`, float64; NaN for a series without windows.

    Reference:
        Hyndman and Koehler, Another look at measures of forecast accuracy,
        2006.
    """
    gaps = (
        np.abs(np.subtract(rows[season:], rows[:-season], dtype="f8"))
        for rows in train.parts()
    )
    return np.stack(
        [
            x.mean(axis=0) if len(x) else np.full(x.shape[1], np.nan)
            for x in gaps
        ]
    )


def linear(kernel: np.ndarray) -> Forecast:
    """Return the forecast `window @ kernel`, relative to the window's mean.

    Args:
        kernel: `(time, horizon)`, whose columns sum to 1.
    """
    time, horizon = kernel.shape

    def forecast(windows: np.ndarray) -> np.ndarray:
        mean = windows.mean(axis=1, keepdims=True)
        # One product of matrices, which is much faster than one a window.
        rows = np.swapaxes(windows - mean, 1, 2).reshape(-1, time)
        found = (rows @ kernel).reshape(len(windows), -1, horizon)
        return np.swapaxes(found, 1, 2) + mean

    return forecast


def naive(horizon: int, season: int) -> Forecast:
    """Return the forecast that repeats a window's last season."""
    places = np.arange(horizon) % season - season
    return lambda windows: windows[:, places]


def seasons_of(splits: SeriesSplits) -> dict[str, int]:
    """Return the seasons in rows of the naive forecasts there are, by name.

    Those are a day and a week where the step of the rows is known and divides
    them, and the look-back holds them.
    """
    lookback = splits.train.lookback
    seasons = {"repeat last": 1}
    for name, span in SPANS.items():
        rows = splits.rows_in(span)
        if rows and 1 < rows <= lookback:
            seasons[f"repeat last {name}"] = rows
    return seasons


def scaling_season(splits: SeriesSplits) -> tuple[int, str]:
    """Return the season of MASE in rows, and in words: a day, or 1 row."""
    rows = seasons_of(splits).get("repeat last day")
    return (rows, f"a day, {rows} rows") if rows else (1, "1 row")


def advantage(
    model: np.ndarray, other: np.ndarray, block: int
) -> tuple[float, float] | None:
    """Compare the mean errors of two forecasts of the same windows.

    Differences of overlapping windows are not independent. So their means over
    blocks of as many windows as the horizon has rows are compared with zero, by
    Student's t distribution. Where each row of a forecast errs by itself, the
    means of neighbouring blocks still have a correlation of 1/4, which makes
    the variance of the whole mean 3/2 of that of independent blocks.

    Args:
        model: error of each window, in the windows' order.
        other: the same of another forecast.
        block: windows of a block.

    Returns:
        Mean of `other - model` and half the width of its confidence interval of
        95 %; `None` if there are fewer than two blocks.

    Example:
    >>> import numpy as np
    >>> from kbp.tasks.forecasts.errors import advantage
    >>> mean, margin = advantage(np.zeros(40), np.tile([1.0, 3.0], 20), 10)
    >>> round(mean, 3), round(margin, 3)
    (2.0, 0.0)

    Reference:
        Diebold and Mariano, Comparing Predictive Accuracy, 1995; Harvey,
        Leybourne and Newbold, Testing the equality of prediction mean squared
        errors, 1997, for Student's distribution.
    """
    gaps = np.asarray(other, "f8") - model
    count = len(gaps) // block
    if count < 2:
        return None
    blocks = gaps[len(gaps) - count * block :].reshape(count, block).mean(1)
    quantile = stats.t.ppf((1 + _CONFIDENCE) / 2, count - 1)
    deviation = np.sqrt(1.5) * stats.sem(blocks)
    return float(gaps.mean()), float(quantile * deviation)


def compare(model: Errors, other: Errors, horizon: int) -> str:
    """Return another forecast's rank.

    Args:
        model: errors of a model.
        other: errors of another forecast of the same windows.
        horizon: rows that they forecast.

    Returns:
        `"as good"` if the mean squared errors differ by 1 % at most, or by 5 %
        and by no more than the confidence interval of `advantage`;
        `"undecided"` if they differ by more, but not by more than that
        interval; else `"worse"` or `"better"`.
    """
    found = advantage(model.windows, other.windows, horizon)
    mean = model.windows.mean()
    difference, margin = found or (other.windows.mean() - mean, np.inf)
    if abs(difference) <= _NEGLIGIBLE * mean:
        return "as good"
    if abs(difference) <= margin:
        near = abs(difference) <= COMPARABLE * mean
        return "as good" if near else "undecided"
    return "worse" if difference > 0 else "better"
