"""Windows of series, and what follows each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from kbp.data.splits import Lookup, Tensor


@dataclass(frozen=True)
class Windows:
    """All windows of one series or more; the rows are not copied.

    Attributes:
        series: float32 `(rows, columns)`, those of all series one after the
            other: what is to be forecast, then covariates, those known of the
            past alone first.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
        starts: rows at which windows begin; by default all of one series.
        targets: how many columns are to be forecast; by default all.
        past_covariates: how many covariates are known of the past alone.
        members: which series each window is of, `(windows,)`; by default all
            are of the first.
    """

    series: np.ndarray
    lookback: int
    horizon: int
    starts: np.ndarray | None = None
    targets: int | None = None
    past_covariates: int = 0
    members: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def inputs(self) -> np.ndarray:
        """What a model sees, `(windows, lookback, targets)`.

        With covariates `(windows, lookback + horizon, columns)`: zeros where
        nothing is known.
        """
        if self._known is None:
            return self.past
        return self._view(0, len(self._known)) * self._known

    @property
    def labels(self) -> np.ndarray:
        """The rows to forecast, `(windows, horizon, targets)`."""
        rows = self._view(self.lookback, self.horizon)
        return rows[..., : self.targets]

    @property
    def past(self) -> np.ndarray:
        """What is known of the labels' columns, `(windows, lookback, ...)`."""
        return self._view(0, self.lookback)[..., : self.targets]

    def parts(self) -> list[np.ndarray]:
        """Return the rows to forecast that the windows lie in, by series.

        Returns:
            An array `(rows, targets)` for each series, of no rows where it has
            no windows.
        """
        starts, members = self._starts, self.members
        groups = [starts]
        if members is not None:
            count = int(members.max(initial=-1)) + 1
            groups = [starts[members == one] for one in range(count)]
        length = self.lookback + self.horizon
        places = [
            slice(own.min(), own.max() + length) if len(own) else slice(0)
            for own in groups
        ]
        return [self.series[place, : self.targets] for place in places]

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of what a model sees of a window."""
        rows, columns = self.lookback, self.series.shape[1]
        return (rows if self._known is None else rows + self.horizon), columns

    @cached_property
    def _starts(self) -> np.ndarray:
        if self.starts is not None:
            return self.starts
        count = len(self.series) - self.lookback - self.horizon + 1
        return np.arange(max(0, count))

    @cached_property
    def _known(self) -> np.ndarray | None:
        """Ones where a model sees a window's values, `None` if it sees all."""
        columns = self.series.shape[1]
        targets = columns if self.targets is None else self.targets
        if targets == columns:
            return None
        known = np.ones((self.lookback + self.horizon, columns), "float32")
        known[self.lookback :, : targets + self.past_covariates] = 0
        return known

    def _view(self, first: int, length: int) -> np.ndarray:
        """Return rows of each window, `(windows, length, columns)`.

        They are no copy where windows begin at all rows of a part.
        """
        starts = self._starts
        if not len(starts):
            columns = self.series.shape[1]
            return np.empty((0, length, columns), self.series.dtype)
        windows = sliding_window_view(self.series[first:], length, axis=0)
        windows = windows.swapaxes(1, 2)  # (rows, length, columns)
        if (np.diff(starts) == 1).all():
            return windows[starts[0] : starts[-1] + 1]
        return windows[starts]

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""
        with tf.device("CPU:0"):  # not in an accelerator's memory
            series = tf.constant(self.series)
            starts = tf.constant(self._starts, tf.int64)
        rows = tf.range(self.lookback + self.horizon, dtype=tf.int64)

        def look(indices: Tensor) -> tuple[Tensor, Tensor]:
            begins = tf.gather(starts, indices)
            windows = tf.gather(series, begins[:, None] + rows)
            labels = windows[:, self.lookback :, : self.targets]
            if self._known is None:
                return windows[:, : self.lookback], labels
            return windows * self._known, labels

        return look


@dataclass(frozen=True)
class Covariates:
    """What models see beside the values to forecast.

    Attributes:
        names: of the columns.
        past: how many of them, the first ones, are known of the past alone.
        mean: of each in the training rows of all series, `(columns,)`.
        scale: standard deviation there, 1 for a constant; `(columns,)`.
        categories: of the static columns, in the order of their ones.
    """

    names: tuple[str, ...]
    past: int
    mean: np.ndarray
    scale: np.ndarray
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesSplits:
    """Series, each split in time and standardized for itself.

    Attributes:
        train: its windows lie in the first rows.
        validation: look back into the rows before their own, like the next.
        test: what a model is judged on.
        names: of the channels, which are to be forecast.
        mean: of each channel in the training rows, `(series, channels)`.
        scale: standard deviation of each channel there.
        counts: how often rules were followed in reading, by what was done.
        step: between two rows, as times have it; `None` if it is not known.
        series: names of the series.
        covariates: what else models see; `None` if nothing.
        tested_from: time of the first test row, as text; of several series the
            latest.
        zone: or offset of the times, `""` if they have none.
        warnings: sentences about columns that are probably something else.
    """

    train: Windows
    validation: Windows
    test: Windows
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    counts: Mapping[str, int] = field(default_factory=dict)
    step: timedelta | float | None = None
    series: tuple[str, ...] = ("",)
    covariates: Covariates | None = None
    tested_from: str = ""
    zone: str = ""
    warnings: tuple[str, ...] = ()

    def rows_in(self, span: timedelta) -> int | None:
        """Return how many rows a span of time has, `None` if no whole number.

        Args:
            span: such as a day or a week.
        """
        if not isinstance(self.step, timedelta):
            return None
        rows, rest = divmod(span, self.step)
        return None if rest or not rows else rows

    def level(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale that a split's windows were standardized with.

        Args:
            split: its name.

        Returns:
            Two arrays that broadcast with `(windows, 1, channels)`.
        """
        return self.by_window(self.mean, split), self.by_window(
            self.scale, split
        )

    def by_window(self, values: np.ndarray, split: str) -> np.ndarray:
        """Return what is known of each series for each window of a split.

        Args:
            values: `(series, channels)`.
            split: its name.

        Returns:
            An array that broadcasts with `(windows, 1, channels)`.
        """
        members: np.ndarray | None = getattr(self, split).members
        return values[slice(None) if members is None else members, None]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what a model sees, see `Windows.inputs`."""
        return self.train.input_shape
