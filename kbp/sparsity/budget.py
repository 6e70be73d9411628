"""How a sparsity is shared among layers."""

import bisect
from collections.abc import Callable, Sequence

import numpy as np

BUDGETS = ("adaptive", "uniform")


def allocate(
    scores: Sequence[np.ndarray],
    sparsity: float,
    *,
    budget: str,
    rounded: Callable[[Sequence[int]], list[int]],
    removed: Callable[[Sequence[int]], float],
) -> list[int]:
    """Return how many of each layer's weights or channels go.

    Args:
        scores: of each layer, flat.
        sparsity: share that goes at least, in [0, 1).
        budget: `"uniform"` or `"adaptive"`.
        rounded: what counts become before they are used.
        removed: the share that goes with such counts.
    """
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
    squares = np.sort(np.square(scores - min(0.0, scores.min())))
    rest = np.cumsum(squares[::-1])[::-1]
    return squares / np.maximum(rest, 1e-300)
