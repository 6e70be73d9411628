"""The most valuable choice of one option for each item, within a budget."""

from collections.abc import Sequence

import numpy as np


def knapsack(
    values: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    budget: float,
    *,
    steps: int = 1000,
) -> list[int] | None:
    """Return the option of each item that together are worth the most.

    Costs are rounded up to a part of the budget, so the choice never costs
    more, and is the best one where costs are multiples of that part.

    Args:
        values: of the options of each item.
        costs: of the same options, not negative.
        budget: what the choice may cost.
        steps: parts of the budget.

    Returns:
        The index of each item's option; `None` if even the cheapest cost more.

    Example:
    >>> import numpy as np
    >>> worth = [np.array([0.0, 5.0]), np.array([0.0, 3.0, 4.0])]
    >>> price = [np.array([1.0, 4.0]), np.array([0.0, 2.0, 5.0])]
    >>> knapsack(worth, price, 8.0)
    [1, 1]

    Reference:
        The multiple-choice knapsack problem by dynamic programming: Kellerer,
        Pferschy and Pisinger, Knapsack Problems, 2004.
    """
    # What is a multiple but for rounding must not cost a part more.
    parts = [np.ceil(c * (steps / budget) - 1e-6).astype(int) for c in costs]
    best = np.zeros(steps + 1)  # worth of the items so far, by parts spent
    chosen = []
    for worth, price in zip(values, parts, strict=True):
        options = np.full((len(worth), steps + 1), -np.inf)
        for row, value, part in zip(options, worth, price, strict=True):
            if part <= steps:
                row[part:] = best[: steps + 1 - part] + value
        chosen.append(options.argmax(axis=0))
        best = options.max(axis=0)
    if best[steps] == -np.inf:
        return None
    result, left = [], steps
    for option, price in zip(reversed(chosen), reversed(parts), strict=True):
        result.append(int(option[left]))
        left -= price[result[-1]]
    return result[::-1]
