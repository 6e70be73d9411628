"""How a column of numbers is brought to the size that networks like."""

from typing import Literal

import numpy as np
from scipy import special

Points = tuple[np.ndarray, np.ndarray]

LIMIT = 4.0  # deviations; one outlier must not widen the range of eight bits
# Of a normal distribution 0 and 3, of an exponential one 2 and 9.
MOST_SKEWNESS, MOST_KURTOSIS = 1.5, 9.0
_SCORES = np.linspace(-3, 3, 13)
_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


def points(values: np.ndarray) -> Points:
    """Return the points of a column's line, see `kbp.layers.TableEncoding`.

    A column is standardized, up to `LIMIT`. One with a long tail, or far
    outliers, is given normal scores instead: of a quantile of its values, the
    same quantile of a normal distribution.

    Args:
        values: of the training rows, float32, not all equal.

    Returns:
        Knots, ascending, and their heights.

    Example:
    >>> import numpy as np
    >>> from kbp.tasks.tables.knots import points
    >>> points(np.array([10, 30], "float32"))
    (array([-20.,  60.]), array([-4.,  4.]))
    """
    values = np.sort(values.astype("float64"))
    mean, deviation = values.mean(), values.std()
    z = (values - mean) / deviation
    if abs(np.mean(z**3)) <= MOST_SKEWNESS and np.mean(z**4) <= MOST_KURTOSIS:
        ends = np.array([-LIMIT, LIMIT])
        return mean + ends * deviation, ends
    parts = special.ndtr(_SCORES)
    parts[[0, -1]] = 0, 1
    # What float32 cannot tell apart is one knot.
    knots = np.unique(np.quantile(values, parts).astype("float32"))
    knots = knots.astype("float64")
    # The rank of a value that many rows have is the middle of theirs.
    ranks = sum(np.searchsorted(values, knots, side) for side in _SIDES) / 2
    half = 0.5 / len(values)
    scores = special.ndtri(np.clip(ranks / len(values), half, 1 - half))
    along = np.interp(values, knots, scores)
    heights = (scores - along.mean()) / along.std()
    return knots, np.clip(heights, -LIMIT, LIMIT)
