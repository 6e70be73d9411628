"""Rows of series that are kept in blocks, and read where they are needed."""

from collections.abc import Iterable, Iterator

import numpy as np

from kbp.data.lazy import Lazy

_TOGETHER = 64  # blocks that are written at a time
_BLOCK = 2**12  # bytes: of short windows far apart, little else is read
_WINDOWS = 256  # that are read at a time, which bounds the memory


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
        found = np.empty((len(starts), length, self.shape[1]), self.dtype)
        for first in range(0, len(starts), _WINDOWS):
            some = slice(first, first + _WINDOWS)
            found[some] = self._spans(starts[some, None] + np.arange(length))
        return found

    def _spans(self, indices: np.ndarray) -> np.ndarray:
        """Return rows one behind the other, `(starts, length, columns)`."""
        size = self.blocks.shape[1]
        numbers, places = np.divmod(indices, size)
        # A step of a block's length meets all blocks, perhaps but the last.
        needed = np.unique(np.append(numbers[:, ::size], numbers[:, -1:]))
        held = self.blocks[needed]
        return held[np.searchsorted(needed, numbers), places]
