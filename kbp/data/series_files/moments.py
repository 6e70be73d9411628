"""Mean and deviation of columns that do not fit into memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kbp._utils.files import append

_PART = 2**20  # rows


class Moments:
    """Mean and deviation of rows that come part by part.

    They are NumPy's of all rows to the last bit, which adds the rows of several
    columns one by one, and those of one column by halves of halves.

    Args:
        file: a new one, for the rows.
        columns: how many these have.

    Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from kbp.data.series_files.moments import Moments
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     moments = Moments(Path(folder) / "rows", 1)
    ...     for row in (1.0, 2.0, 6.0):
    ...         moments.add(np.array([[row]], "float32"))
    ...     mean, _ = moments.measure()
    >>> mean
    array([3.])
    """

    def __init__(self, file: Path, columns: int):
        self.file, self.columns, self.count = file, columns, 0
        self.least = np.full(columns, np.inf)
        self.most = np.full(columns, -np.inf)

    def add(self, rows: np.ndarray) -> None:
        """Take more rows.

        Args:
            rows: float32 `(rows, columns)`, one or more.
        """
        append(self.file, np.ascontiguousarray(rows, "float32"))
        self.count += len(rows)
        self.least = np.minimum(self.least, rows.min(axis=0))
        self.most = np.maximum(self.most, rows.max(axis=0))

    def measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means, and the deviations, 1 of a constant column."""
        mean = self._sum(self._read) / self.count
        squares = self._sum(
            lambda first, count: np.square(self._read(first, count) - mean)
        )
        scale = np.sqrt(squares / self.count)
        return mean, np.where(self.most > self.least, scale, 1.0)

    def _read(self, first: int, count: int) -> np.ndarray:
        """Return some rows in float64."""
        places = count * self.columns, first * self.columns * 4
        found = np.fromfile(self.file, "float32", places[0], offset=places[1])
        return found.reshape(-1, self.columns).astype("float64")

    def _sum(self, read: Callable[[int, int], np.ndarray]) -> np.ndarray:
        if self.columns == 1:
            return _halved(read, 0, self.count)
        total = np.empty((0, self.columns))
        for first in range(0, self.count, _PART):
            part = read(first, min(_PART, self.count - first))
            total = np.concatenate([total, part]).sum(axis=0, keepdims=True)
        return total[0]


def _halved(
    read: Callable[[int, int], np.ndarray], first: int, count: int
) -> np.ndarray:
    if count <= _PART:
        return read(first, count).sum(axis=0)
    half = count // 2
    half -= half % 8  # as NumPy divides them
    rest = _halved(read, first + half, count - half)
    return _halved(read, first, half) + rest
