"""Rows of series that are kept in blocks, and read where they are needed."""

from collections.abc import Iterable, Iterator

import numpy as np

from kbp.data.lazy import Lazy

_BLOCK = 2**14  # bytes, of which a window takes one or two as a rule


def blocks(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield rows in blocks of one length, the last filled up with zeros.

    Args:
        parts: rows `(rows, columns)`, in any number.

    Returns:
        An iterator of `(blocks, rows, columns)`.
    """
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        size = max(1, _BLOCK // (part.itemsize * part.shape[1]))
        if sum(map(len, held)) >= 64 * size:
            rows = np.concatenate(held)
            whole = len(rows) // size * size
            yield rows[:whole].reshape(-1, size, rows.shape[1])
            held = [rows[whole:]]
    rows = np.concatenate(held)
    missing = -len(rows) % size
    yield np.pad(rows, ((0, missing), (0, 0))).reshape(-1, size, rows.shape[1])


class BlockRows(Lazy):
    """Rows of all series, one behind the other.

    Args:
        blocks: that hold them, `(blocks, rows, columns)`.
        count: of the rows.
    """

    def __init__(self, blocks: Lazy, count: int):
        super().__init__((count, blocks.shape[2]), blocks.dtype)
        self.blocks = blocks

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.spans(indices, 1)[:, 0]

    def spans(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return as many rows from each of some on, `(starts, length, ...)`."""
        if not starts.size:
            return np.empty((0, length, self.shape[1]), self.dtype)
        size = self.blocks.shape[1]
        numbers, places = np.divmod(starts[:, None] + np.arange(length), size)
        numbers -= (least := numbers.min())
        used = np.zeros(numbers.max() + 1, bool)
        used[numbers] = True
        held = self.blocks[least + np.flatnonzero(used)]
        return held[(np.cumsum(used) - 1)[numbers], places]
