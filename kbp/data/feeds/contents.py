"""Whether examples are the same, in whatever order they come."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np


def sum_of_examples(arrays: Iterable[Any]) -> int:
    """Return a number that examples have in whatever order they come.

    Each example is hashed over all arrays, and the hashes are added, so sums of
    batches add up to that of their data set (modulo 2^64).

    Args:
        arrays: of a batch, with as many examples each.

    Example:
    >>> x, y = np.arange(6.0).reshape(3, 2), np.arange(3)
    >>> whole = sum_of_examples([x, y])
    >>> whole == sum_of_examples([x[::-1], y[::-1]])
    True
    >>> whole == sum_of_examples([x, y[::-1]])
    False
    """
    mixed: Any = np.uint64(0)
    for place, given in enumerate(arrays):
        array = np.ascontiguousarray(given)
        if array.dtype.hasobject:  # as text, which is refused later
            array = array.astype(str)
        count = len(array)
        rows = array.reshape(count, -1).view(np.uint8).reshape(count, -1)
        words = rows
        if left := -rows.shape[1] % 8:
            words = np.hstack([rows, np.zeros((count, left), np.uint8)])
        words = words.view(np.uint64)
        mixed = mixed + (words * _factors(place, words.shape[1])).sum(axis=1)
    # As in MurmurHash3, or examples could exchange their parts.
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return int(mixed.sum())


@lru_cache(maxsize=16)
def _factors(place: int, count: int) -> np.ndarray:
    """Return odd numbers, others for each array of a batch."""
    rng = np.random.default_rng(place)
    return rng.integers(2**64, size=count, dtype=np.uint64) | np.uint64(1)
