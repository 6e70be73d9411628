"""Prediction intervals of forecasts, by split conformal calibration."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbp.data.lazy import Array
from kbp.errors import UserError
from kbp.tasks.forecasts.errors import parts_of

# Growth of the widths after a row that every forecast of it missed.
RATE = 0.01
# Least deviation of a window, over that of the training rows.
FLOOR = 0.01
_SHARES = (1, 2, 4, 8)  # of the look-back: whose deviation scales the widths
_GAP_BYTES = 2**24  # of errors at a time
_SAMPLES, _STEPS = 1024, 32  # windows and steps that choose among them


@dataclass(frozen=True)
class Intervals:
    """Half widths of prediction intervals, over the deviation of the window.

    A new forecast's interval has the half width `q * d`: `d` is the deviation
    of the column in the window's last `rows` rows, and `q` the quantile of
    `|error| / d` of the calibration windows, for each level, step and column.
    With `n` windows it is the `ceil((n + 1) * level)`-th smallest score, which
    covers a new window with the probability `level` if it is exchangeable
    with them.

    Attributes:
        names: of the columns.
        levels: nominal coverages in percent, ascending.
        rows: of the window's end, whose deviation scales the widths.
        windows: how many were calibrated on.
        widths: `q`, `(levels, horizon, columns)`.
        floor: least `d` of each column, in its units.
        since: time of the first row after those that were learned and
            calibrated from, as text; `""` if it is not known.
        step: between two rows, as text; `""` if it is not known.

    Reference:
        Lei et al., Distribution-Free Predictive Inference for Regression, 2018,
        for the scores and their local scale.
    """

    names: tuple[str, ...]
    levels: tuple[float, ...]
    rows: int
    windows: int
    widths: np.ndarray
    floor: np.ndarray
    since: str = ""
    step: str = ""

    def deviations(self, past: Array, floor: np.ndarray | float) -> np.ndarray:
        """Return what scales the widths of windows, `(windows, columns)`.

        Args:
            past: `(windows, lookback, columns)`.
            floor: the least, in the units of `past`.
        """
        return np.maximum(deviations(past, self.rows), floor)

    def of(self, names: Sequence[str]) -> "Intervals | None":
        """Return those of some columns, `None` if one was not calibrated."""
        if not {*names} <= {*self.names}:
            return None
        places = [self.names.index(name) for name in names]
        return dataclasses.replace(
            self,
            names=tuple(names),
            widths=self.widths[..., places],
            floor=self.floor[places],
        )

    def half_widths(self, past: np.ndarray) -> np.ndarray:
        """Return those of windows in the columns' units.

        Args:
            past: `(windows, lookback, columns)`, in the columns' units.

        Returns:
            `(windows, levels, horizon, columns)`.
        """
        scale = self.deviations(past, self.floor)
        return self.widths * scale[:, None, None]

    def to_json(self) -> str:
        """Return the intervals as text, see `read`."""
        values = dataclasses.asdict(self)
        for key in ("widths", "floor"):
            values[key] = _rounded(values[key])
        return json.dumps(values) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Intervals":
        """Read a file of intervals.

        Raises:
            UserError: the file holds something else.
        """
        try:
            values = json.loads(path.read_text())
            found = cls(
                names=tuple(map(str, values["names"])),
                levels=tuple(map(float, values["levels"])),
                rows=int(values["rows"]),
                windows=int(values["windows"]),
                widths=np.array(values["widths"], "f8"),
                floor=np.array(values["floor"], "f8"),
                since=str(values["since"]),
                step=str(values.get("step", "")),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: holds no intervals: {error}") from error
        levels, columns = len(found.levels), len(found.names)
        shape = found.widths.shape
        if (len(shape), shape[0], shape[-1]) != (3, levels, columns):
            raise UserError(
                f"{path}: has widths of shape {shape} for {levels} levels and "
                f"{columns} columns."
            )
        return found


def calibrate(
    names: Sequence[str],
    levels: Sequence[float],
    past: Array,
    outputs: np.ndarray,
    labels: Array,
    *,
    scale: np.ndarray,
    since: str = "",
    step: str = "",
) -> Intervals | None:
    """Return the intervals that windows calibrate, `None` if they are too few.

    Of the whole window's deviation and those of its last half, quarter and
    eighth, the one is taken that gives the least interval score where one half
    of the windows is calibrated on the other.

    Args:
        names: of the columns.
        levels: nominal coverages in percent.
        past: what a model saw of the columns, `(windows, lookback, columns)`,
            standardized.
        outputs: what it forecast, `(windows, horizon, columns)`.
        labels: what came.
        scale: of the columns in their units, of each series,
            `(series, columns)`.
        since: see `Intervals`.
        step: see `Intervals`.

    Example:
    >>> import numpy as np
    >>> from kbp.tasks.forecasts.intervals import calibrate
    >>> rng = np.random.default_rng(0)
    >>> past = rng.normal(size=(500, 8, 1))
    >>> labels = rng.normal(size=(500, 1, 1))
    >>> found = calibrate(
    ...     "x", [80], past, 0 * labels, labels, scale=np.ones((1, 1))
    ... )
    >>> bool(abs(found.half_widths(past).mean() - 1.28) < 0.15)
    True

    Reference:
        Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and
        Estimation, 2007, for the interval score.
    """
    levels = [x for x in sorted(levels) if rank(len(labels), x) < len(labels)]
    if not levels:
        return None
    lookback = past.shape[1]
    choices = [lookback // n for n in _SHARES if lookback // n > 1] or [
        lookback
    ]
    rows = min(
        choices, key=lambda n: _cross_score(past, outputs, labels, levels, n)
    )
    spread = np.maximum(deviations(past, rows), FLOOR)
    widths, count = np.empty((len(levels), *labels.shape[1:])), len(labels)
    each = max(1, _GAP_BYTES // spread.nbytes)
    for ahead in range(0, labels.shape[1], each):  # bounds the memory
        steps = slice(ahead, ahead + each)
        gaps = np.concatenate(
            [
                np.abs(outputs[part, steps] - labels[part][:, steps])
                for part in parts_of(count)
            ]
        )
        for place in range(gaps.shape[1]):
            scores = gaps[:, place] / spread
            widths[:, ahead + place] = quantiles(scores, levels)
    floor = FLOOR * scale.min(axis=0)
    return Intervals(
        tuple(names), tuple(levels), rows, count, widths, floor, since, step
    )


def rank(count: int, level: float) -> int:
    """Return the place of the conformal quantile among so many sorted scores.

    Args:
        count: of scores.
        level: in percent.

    Returns:
        An index from 0; `count` if there are too few scores.
    """
    return min(count, math.ceil((count + 1) * level / 100 - 1e-9) - 1)


def quantiles(scores: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the conformal quantiles of scores over their first axis.

    Args:
        scores: `(windows, ...)`, enough of them for each level.
        levels: in percent.

    Returns:
        `(levels, ...)`.
    """
    places = np.array([rank(len(scores), level) for level in levels], int)
    parted: np.ndarray = np.partition(scores, places, axis=0)
    return parted[places]


def deviations(past: Array, rows: int) -> np.ndarray:
    """Return that of the last rows of windows, `(windows, columns)`."""
    found = np.empty((len(past), past.shape[-1]))
    for part in parts_of(len(past)):
        found[part] = past[part][:, -rows:].std(axis=1, dtype="f8")
    return found


def interval_score(
    gaps: np.ndarray, widths: np.ndarray, level: float
) -> np.ndarray:
    """Return the interval score of central intervals, weighted by `a / 2`.

    The whole width, and for each miss `2 / a` of what is missing, with
    `a = 1 - level`; so weighted, scores of several levels add up.

    Args:
        gaps: absolute errors.
        widths: half widths, which broadcast with them.
        level: in percent.

    Reference:
        Gneiting and Raftery, 2007; Bracher et al., Evaluating epidemic
        forecasts in an interval format, 2021, for the weight.
    """
    alpha = 1 - level / 100
    return alpha * widths + np.maximum(0, gaps - widths)


def check_levels(levels: Sequence[float]) -> None:
    """Raise a UserError unless levels are different percentages."""
    if len(levels) != len({*levels}) or not all(0 < x < 100 for x in levels):
        raise UserError(
            "task.intervals must be different percentages, each more than 0 "
            f"and less than 100; received {[*levels]}"
        )


def _rounded(values: np.ndarray) -> Any:
    """Return nested lists of numbers with six digits that count."""
    if values.ndim:
        return [_rounded(part) for part in values]
    return float(f"{values:.6g}")


def _cross_score(
    past: Array,
    outputs: np.ndarray,
    labels: Array,
    levels: Sequence[float],
    rows: int,
) -> float:
    """Return the mean interval score of each half, calibrated on the other."""
    count, horizon = labels.shape[:2]
    some = slice(None, None, -(-count // _SAMPLES))
    steps = slice(None, None, -(-horizon // _STEPS))
    gaps = np.abs(outputs[some, steps] - labels[some][:, steps])
    spread = np.maximum(deviations(past[some], rows), FLOOR)[:, None]
    half, total = len(gaps) // 2, 0.0
    halves = slice(half), slice(half, None)
    for fit, judge in (halves, halves[::-1]):
        known = [x for x in levels if rank(half, x) < half]
        widths = quantiles(gaps[fit] / spread[fit], known)
        for level, width in zip(known, widths, strict=True):
            scores = interval_score(gaps[judge], width * spread[judge], level)
            total += float(scores.mean())
    return total
