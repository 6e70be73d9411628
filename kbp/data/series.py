"""Windows of series, and what follows each of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from kbp.data.lazy import Array, Lazy, looked_up
from kbp.data.series_files.rows import BlockRows
from kbp.data.splits import Lookup, Tensor

_LITTLE = 2**26  # bytes


@dataclass(frozen=True)
class Windows:
    """All windows of one series or more; the rows are not copied.

    Attributes:
        series: float32 `(rows, columns)`, those of all series one after the
            other: what is to be forecast, then covariates, those known of the
            past alone first. They are an array, or `BlockRows` of a disk.
        lookback: rows that a model sees.
        horizon: rows after them, which it forecasts.
        starts: rows at which windows begin; by default all of one series.
        targets: how many columns are to be forecast; by default all.
        past_covariates: how many covariates are known of the past alone.
        members: which series each window is of, `(windows,)`; by default all
            are of the first.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Windows
    >>> rows = np.arange(6, dtype="float32")[:, None]
    >>> windows = Windows(rows, lookback=3, horizon=1)
    >>> len(windows), windows.inputs[0, :, 0], windows.labels[0, :, 0]
    (3, array([0., 1., 2.], dtype=float32), array([3.], dtype=float32))
    """

    series: np.ndarray | BlockRows
    lookback: int
    horizon: int
    starts: np.ndarray | None = None
    targets: int | None = None
    past_covariates: int = 0
    members: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def inputs(self) -> Array:
        """What a model sees, `(windows, lookback, targets)`.

        With covariates `(windows, lookback + horizon, columns)`: zeros where
        nothing is known. Like the next two, it is `Lazy` where windows take
        more than some megabytes, and are not the rows themselves.
        """
        known = self._known
        if known is None:
            return self.past
        windows = self._spans(0, len(known))
        return _held(
            windows.map(lambda x: x * known, windows.shape[1:], windows.dtype)
        )

    @property
    def labels(self) -> Array:
        """The rows to forecast, `(windows, horizon, targets)`."""
        return self._targets(self.lookback, self.horizon)

    @property
    def past(self) -> Array:
        """What is known of the labels' columns, `(windows, lookback, ...)`."""
        return self._targets(0, self.lookback)

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the rows to forecast that the windows lie in, by series.

        Returns:
            An iterator of `(rows, targets)` for each series, of no rows where
            it has no windows.
        """
        starts, members = self._starts, self.members
        groups = [starts]
        if members is not None:
            order = np.argsort(members, kind="stable")
            count = int(members.max(initial=-1)) + 1
            firsts = np.searchsorted(members[order], np.arange(1, count))
            groups = np.split(starts[order], firsts)
        length = self.lookback + self.horizon
        for own in groups:
            place = (
                slice(own.min(), own.max() + length) if len(own) else slice(0)
            )
            yield self.series[place][:, : self.targets]

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

    def _spans(self, first: int, length: int) -> "_Spans":
        return _Spans(self.series, self._starts + first, length)

    def _targets(self, first: int, length: int) -> Array:
        """Return the columns to forecast, `(windows, length, targets)`.

        They are no copy where windows begin at all rows of a part.
        """
        windows, targets = self._spans(first, length), self.targets
        if windows.are_rows:
            return windows.whole[..., :targets]
        shape = length, len(range(self.series.shape[1])[:targets])
        return _held(
            windows.map(lambda x: x[..., :targets], shape, windows.dtype)
        )

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""
        windows_of = self._spans(0, self.lookback + self.horizon).lookup()

        def look(indices: Tensor) -> tuple[Tensor, Tensor]:
            windows = windows_of(indices)
            labels = windows[:, self.lookback :, : self.targets]
            if self._known is None:
                return windows[:, : self.lookback], labels
            return windows * self._known, labels

        return look


def _held(windows: Lazy) -> Array:
    """Return windows as an array if they take little memory."""
    return windows[:] if windows.nbytes <= _LITTLE else windows


class _Spans(Lazy):
    """As many rows from each of some on, `(starts, length, columns)`."""

    def __init__(
        self,
        series: np.ndarray | BlockRows,
        starts: np.ndarray,
        length: int,
    ):
        shape = len(starts), length, series.shape[1]
        super().__init__(shape, series.dtype)
        self.series, self.starts = series, starts

    @property
    def are_rows(self) -> bool:
        """Whether all of it is a view of rows in memory."""
        in_memory = not isinstance(self.series, BlockRows)
        return in_memory and bool((np.diff(self.starts) == 1).all())

    @property
    def whole(self) -> np.ndarray:
        """All of it where `are_rows`."""
        starts = self.starts
        if not len(starts):
            return np.empty(self.shape, self.dtype)
        return self._windows[starts[0] : starts[-1] + 1]

    @property
    def _windows(self) -> np.ndarray:
        windows = sliding_window_view(self.series, self.shape[1], axis=0)
        return windows.swapaxes(1, 2)  # (rows, length, columns)

    def read(self, indices: np.ndarray) -> np.ndarray:
        starts = self.starts[indices]
        if isinstance(self.series, BlockRows):
            return self.series.spans(starts, self.shape[1])
        if not len(starts):
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self._windows[starts]

    def lookup(self) -> Callable[[Tensor], Tensor]:
        """Return `lookup(indices) -> windows`, of tensors."""
        if isinstance(self.series, BlockRows):
            return looked_up(self)
        with tf.device("CPU:0"):  # not in an accelerator's memory
            series = tf.constant(self.series)
            starts = tf.constant(self.starts, tf.int64)
        rows = tf.range(self.shape[1], dtype=tf.int64)
        return lambda indices: tf.gather(
            series, tf.gather(starts, indices)[:, None] + rows
        )


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
        remarks: a sentence if the file has changed since its rows were kept.
        kept: a sentence, where the rows are if they are not in memory.

    Example:
    >>> import numpy as np
    >>> from kbp.data import SeriesSplits, Windows
    >>> rows = np.random.default_rng(0).normal(size=(40, 1)).astype("float32")
    >>> parts = [Windows(part, 4, 1) for part in np.split(rows, [20, 30])]
    >>> splits = SeriesSplits(
    ...     *parts, names=("load",), mean=rows[:20].mean(0)[None],
    ...     scale=rows[:20].std(0)[None]
    ... )
    >>> len(splits.train), len(splits.test)
    (16, 6)
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
    remarks: tuple[str, ...] = ()
    kept: str = ""

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
