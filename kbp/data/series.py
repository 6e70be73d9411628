"""Windows of a series, and what follows each of them."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from kbp.data.splits import Lookup, Tensor


@dataclass(frozen=True)
class Windows:
    """All windows of a series; nothing is copied.

    Attributes:
        series: float32 `(rows, channels)`.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
    """

    series: np.ndarray
    lookback: int
    horizon: int

    def __len__(self) -> int:
        return max(0, len(self.series) - self.lookback - self.horizon + 1)

    @property
    def inputs(self) -> np.ndarray:
        """The rows that a model sees, `(windows, lookback, channels)`."""
        return self._view(self.series, self.lookback)

    @property
    def labels(self) -> np.ndarray:
        """The rows after them, `(windows, horizon, channels)`."""
        return self._view(self.series[self.lookback :], self.horizon)

    @property
    def past(self) -> np.ndarray:
        """What is known of the labels' columns, `(windows, lookback, ...)`."""
        return self.inputs

    def _view(self, series: np.ndarray, length: int) -> np.ndarray:
        if not len(self):
            return np.empty((0, length, series.shape[-1]), series.dtype)
        windows = sliding_window_view(series, length, axis=0)[: len(self)]
        return windows.swapaxes(1, 2)  # (windows, length, channels)

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""
        with tf.device("CPU:0"):  # not in an accelerator's memory
            series = tf.constant(self.series)
        rows = tf.range(self.lookback + self.horizon, dtype=tf.int64)

        def look(indices: Tensor) -> tuple[Tensor, Tensor]:
            windows = tf.gather(series, indices[:, None] + rows)
            return windows[:, : self.lookback], windows[:, self.lookback :]

        return look


@dataclass(frozen=True)
class SeriesSplits:
    """A series, split in time and standardized.

    Attributes:
        train: its windows lie in the first rows.
        validation: look back into the rows before their own, like the next.
        test: what a model is judged on.
        names: of the channels.
        mean: of each channel in the training rows, `(channels,)`.
        scale: standard deviation of each channel there, `(channels,)`.
        filled: how many values were missing and have been filled in.
        step: between two rows, as times have it; `None` if it is not known.
    """

    train: Windows
    validation: Windows
    test: Windows
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    filled: int = 0
    step: timedelta | float | None = None

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
        return self.mean[None, None], self.scale[None, None]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what a model sees, `(lookback, channels)`."""
        return self.train.lookback, len(self.names)
