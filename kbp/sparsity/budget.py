"""How a sparsity is shared among layers."""

from collections.abc import Sequence

import numpy as np

BUDGETS = ("adaptive", "uniform")


def allocate(
    scores: Sequence[np.ndarray], sparsity: float, budget: str
) -> list[int]:
    """Return how many of each layer's weights or channels go.

    Args:
        scores: of each layer, flat.
        sparsity: share of all that goes, in [0, 1).
        budget: `"uniform"` or `"adaptive"`.
    """
    if budget == "uniform":
        return [round(sparsity * s.size) for s in scores]
    relative = [_lamp(s) for s in scores]
    together = np.concatenate(relative)
    count = round(sparsity * together.size)
    if count == 0:
        return [0] * len(scores)
    border = np.partition(together, count - 1)[count - 1]
    return [int(np.sum(r <= border)) for r in relative]


def _lamp(scores):
    """Return each score's square over the sum of those not smaller.

    The largest has 1, so no layer goes wholly before all others have.
    """
    squares = np.sort(np.square(scores - min(0.0, scores.min())))[::-1]
    return squares / np.maximum(np.cumsum(squares), 1e-300)
