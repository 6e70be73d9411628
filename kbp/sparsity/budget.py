"""How a sparsity is shared among layers."""

import bisect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kbp.sparsity.knapsack import knapsack

BUDGETS = ("adaptive", "uniform", "knapsack")
_OPTIONS = 32  # of each layer, to choose from
_STEPS = 4  # to the target, as what a layer saves depends on all others
_TRIES = 8
Removed = Callable[[ArrayLike], Any]


def allocate(
    scores: Sequence[np.ndarray],
    sparsity: float,
    *,
    budget: str,
    rounded: Callable[[Sequence[int]], list[int]],
    removed: Removed,
) -> list[int]:
    """Return how many of each layer's weights or channels go.

    Args:
        scores: of each layer, flat.
        sparsity: share that goes at least, in [0, 1).
        budget: one of `BUDGETS`.
        rounded: what counts become before they are used.
        removed: the share that goes with such counts, `(..., layers)`.
    """
    if budget == "knapsack":
        return _by_knapsack(scores, sparsity, rounded, removed)
    total = sum(s.size for s in scores)
    if budget == "adaptive":
        relative = [_lamp(s) for s in scores]
        together = np.sort(np.concatenate(relative))

    def counts(number: int) -> list[int]:
        if not number:
            return rounded([0] * len(scores))
        if budget == "uniform":
            share = number / total
            return rounded([round(share * s.size) for s in scores])
        border = together[number - 1]
        return rounded(
            [int(np.searchsorted(r, border, "right")) for r in relative]
        )

    number = bisect.bisect_left(
        range(total), sparsity, key=lambda n: removed(counts(n))
    )
    return counts(number)


def _lamp(scores: np.ndarray) -> np.ndarray:
    """Return each score's square over the sum of those not smaller, sorted.

    The largest has 1, so no layer goes wholly before all others have.
    """
    squares, rest = _squares(scores)
    return squares / np.maximum(rest, 1e-300)


def _squares(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores' squares, rising, and the sums from each one on."""
    squares = np.sort(np.square(scores - min(0.0, scores.min())))
    return squares, np.cumsum(squares[::-1])[::-1]


def _by_knapsack(
    scores: Sequence[np.ndarray],
    sparsity: float,
    rounded: Callable[[Sequence[int]], list[int]],
    removed: Removed,
) -> list[int]:
    """Return the counts that leave the most for what goes.

    What a layer is worth is the logarithm of the share that its scores'
    squares keep: a network is a chain of layers, whose shares multiply. What a
    count saves depends on the others, so they are chosen in a few steps, each
    by what single counts would save after the one before.
    """
    sizes = [s.size for s in scores]
    rows = [
        rounded([round(i * size / _OPTIONS) for size in sizes])
        for i in range(_OPTIONS + 1)
    ]
    options = [np.unique(column) for column in zip(*rows, strict=True)]
    single = _Single(
        options,
        [_kept(s)[o] for s, o in zip(scores, options, strict=True)],
        removed,
    )
    counts, goal = np.array(rows[0]), 0.0
    for _ in range(_STEPS):
        goal += sparsity / _STEPS
        counts = single.best(counts, goal)
    for _ in range(_TRIES):
        short = sparsity - removed(counts)
        if short <= 0:
            break
        goal += short + 1e-6
        counts = single.best(counts, goal)
    if removed(counts) < sparsity:
        counts = np.array(rows[-1])
    return [int(count) for count in single.given_back(counts, sparsity)]


class _Single:
    """What comes of it if one layer has another count.

    Args:
        options: counts of each layer, rising.
        worth: of each option.
        removed: the share that goes with counts, `(..., layers)`.
    """

    def __init__(
        self,
        options: Sequence[np.ndarray],
        worth: Sequence[np.ndarray],
        removed: Removed,
    ) -> None:
        self.options, self.worth, self.removed = options, worth, removed
        self.layers = np.repeat(np.arange(len(options)), [*map(len, options)])
        self.flat_options = np.concatenate(options)
        self.flat_worth = np.concatenate(worth)

    def shares(self, counts: np.ndarray) -> np.ndarray:
        """Return the share that goes with each option, the others as given."""
        rows = np.tile(counts, (len(self.layers), 1))
        rows[np.arange(len(rows)), self.layers] = self.flat_options
        return np.asarray(self.removed(rows))

    def best(self, counts: np.ndarray, goal: float) -> np.ndarray:
        """Return the best options, as if what single ones save added up."""
        now = self.removed(counts)
        ends = np.flatnonzero(np.diff(self.layers)) + 1
        saved = np.split(self.shares(counts) - now, ends)
        most = [s.max() for s in saved]
        left = now + sum(most) - goal
        prices = [high - s for high, s in zip(most, saved, strict=True)]
        found = knapsack(self.worth, prices, left) if left > 0 else None
        if found is None:
            return np.array([o[-1] for o in self.options])
        return np.array(
            [o[i] for o, i in zip(self.options, found, strict=True)]
        )

    def given_back(self, counts: np.ndarray, goal: float) -> np.ndarray:
        """Return counts from which no layer can have any back.

        The one that wins the most has some back first.
        """
        while True:
            gain = self.flat_worth - self._worth(counts)[self.layers]
            gain[self.shares(counts) < goal] = 0.0
            best = int(gain.argmax())
            if gain[best] <= 1e-12:
                return counts
            counts = counts.copy()
            counts[self.layers[best]] = self.flat_options[best]

    def _worth(self, counts: np.ndarray) -> np.ndarray:
        """Return what each layer's count is worth."""
        return np.array(
            [
                w[np.searchsorted(o, count)]
                for o, w, count in zip(
                    self.options, self.worth, counts, strict=True
                )
            ]
        )


def _kept(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of what is kept, by how many of the least go."""
    _, rest = _squares(scores)
    rest = np.append(rest, 0.0)
    return np.log(np.maximum(rest / max(rest[0], 1e-300), 1e-30))
