"""How many directions values really fill."""

import numpy as np
from numpy.typing import ArrayLike


def effective_rank(matrix: ArrayLike) -> float:
    """Return the effective rank of a matrix, from 1 to the rank that it has.

    With the singular values `s`, it is `exp(-sum(p log p))`, `p = s / sum(s)`:
    as many equal singular values have the same entropy. Units of a layer that
    say the same make it small.

    Args:
        matrix: `(rows, columns)`, such as examples and units.

    Returns:
        The effective rank; 0 of a matrix of zeros, and not a number if a value
        is not finite.

    Raises:
        ValueError: it is no matrix, or empty.

    Example:
    >>> import numpy as np, kbp
    >>> round(kbp.diagnostics.effective_rank(np.eye(3)), 6)
    3.0
    >>> round(kbp.diagnostics.effective_rank(np.ones((5, 3))), 6)
    1.0

    Reference:
        Roy and Vetterli, The Effective Rank, 2007.
    """
    values = np.asarray(matrix, "float64")
    if values.ndim != 2 or not values.size:
        raise ValueError(
            "Argument `matrix` must be a matrix with values. Received: shape "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        return float("nan")
    return rank_of_singular(np.linalg.svd(values, compute_uv=False))


def rank_of_singular(values: np.ndarray) -> float:
    """Return the effective rank of a matrix with these singular values."""
    values = np.asarray(values, "float64")
    shares = values[values > 0] / (values.sum() or 1.0)
    if not shares.size:
        return 0.0
    return float(np.exp(-np.sum(shares * np.log(shares))))
