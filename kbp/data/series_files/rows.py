"""Rows of series that are kept in blocks, and read where they are needed."""

from collections.abc import Iterable, Iterator

import numpy as np

from kbp.data.lazy import Lazy

_TOGETHER = 64  # blocks that are written at a time
_BLOCK = 2**14  # bytes, of which a window takes one or two as a rule


def blocks(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield rows in blocks of one length, the last filled up with zeros.

    Args:
        parts: rows `(rows, columns)`, in any number.

    Returns:
        An iterator of `(blocks, rows, columns)`.
    """
    held: list[np.ndarray] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        size = max(1, _BLOCK // (part.itemsize * part.shape[1]))
        if count >= _TOGETHER * size:
            rows = np.concatenate(held)
            count %= size
            whole = len(rows) - count
            yield rows[:whole].reshape(-1, size, rows.shape[1])
            held = [rows[whole:]]
    rows = np.concatenate(held)
    filled = np.pad(rows, ((0, -len(rows) % size), (0, 0)))
    if len(filled):
        yield filled.reshape(-1, size, rows.shape[1])


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
