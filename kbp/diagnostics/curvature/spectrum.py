"""The ends of the spectrum of a loss's Hessian."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from kbp._utils.arguments import check_integer, check_one_of
from kbp.diagnostics.curvature.mean_loss import MeanLoss

ENDS = ("largest", "smallest", "both")


@dataclass(frozen=True, eq=False)
class HessianSpectrum:
    """Eigenvalues of the Hessian of a model's loss.

    Attributes:
        eigenvalues: in ascending order.
        directions: their eigenvectors of length 1, each with an array for each
            of the model's trained variables; `None` if not asked for.

    Example:
    >>> found = HessianSpectrum(np.array([-0.5, 2.0]))
    >>> found.smallest, found.largest
    (-0.5, 2.0)
    """

    eigenvalues: np.ndarray
    directions: tuple[tuple[np.ndarray, ...], ...] | None = None

    @property
    def largest(self) -> float:
        """The largest of them."""
        return float(self.eigenvalues[-1])

    @property
    def smallest(self) -> float:
        """The smallest of them."""
        return float(self.eigenvalues[0])


def hessian_spectrum(
    model: keras.Model,
    data: Any,
    *,
    k: int = 5,
    which: str = "both",
    loss: Any = None,
    vectors: bool = False,
    batch_size: int = 32,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> HessianSpectrum:
    """Return the largest and smallest eigenvalues of a loss's Hessian.

    They say how sharp a minimum is, how large a learning rate may be (gradient
    descent needs one below 2 over the largest), and whether there is a way
    down. The Hessian is never stored: Lanczos's iteration multiplies by it,
    which takes two to four times as long as a gradient.

    Args:
        model: built. Layers compute as at inference.
        data: a tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or batches
            of such tuples that can be read again and again. The loss is the
            mean over all of them; one batch is in memory at a time.
        k: number of eigenvalues at each end.
        which: `"largest"`, `"smallest"` or `"both"`, by their signs.
        loss: as for `compile`; by default that of the compiled model.
        vectors: whether to return eigenvectors, too.
        batch_size: into which arrays are cut.
        tolerance: of the residuals, as a share of the largest absolute
            eigenvalue. Models that compute in float32 allow some 1e-6.
        seed: of the vector that the iteration begins with.

    Returns:
        The eigenvalues, and their vectors.

    Raises:
        ValueError: the model is not built or has no loss, the data are of no
            use, the loss is not one finite number, or an argument is out of
            range.

    Reference:
        Ghorbani, Krishnan and Xiao, An Investigation into Neural Net
        Optimization via Hessian Eigenvalue Density, 2019; Lehoucq, Sorensen
        and Yang, ARPACK Users' Guide, 1998.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([
    ...     keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    >>> x, y = np.array([[1.0, 0.0], [0.0, 3.0]]), np.zeros((2, 1))
    >>> found = kbp.diagnostics.hessian_spectrum(model, (x, y), k=1, loss="mse")
    >>> found.eigenvalues.round(4).tolist()  # of x^T x, times 2 / 2
    [1.0, 9.0]
    """
    check_integer(k=k)
    check_one_of(ENDS, which=which)
    check_tolerance(tolerance=tolerance)
    objective = MeanLoss(model, data, loss, batch_size)
    if k > objective.size:
        raise ValueError(
            f"Argument `k` must be at most {objective.size}, the number of "
            f"weights. Received: k={k}"
        )
    found, columns = ends(objective, k, which, tolerance, seed)
    directions = tuple(objective.split(column) for column in columns.T)
    return HessianSpectrum(found, directions if vectors else None)


def check_tolerance(**arguments: float) -> None:
    """Raise a ValueError for the first that is not between 0 and 1."""
    for name, value in arguments.items():
        if not 0 < value < 1:
            raise ValueError(
                f"Argument `{name}` must be between 0 and 1. "
                f"Received: {name}={value}"
            )


def ends(
    objective: MeanLoss, k: int, which: str, tolerance: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues in ascending order, and their vectors as columns.

    Args:
        objective: whose Hessian is meant.
        k: number of eigenvalues at each end.
        which: one of `ENDS`.
        tolerance: of residuals, as a share of the largest absolute eigenvalue.
        seed: of the first vector.

    Raises:
        ValueError: the iteration does not come to an end.
    """
    size, product = objective.size, objective.hessian()
    of_end = {"smallest": slice(0, k), "largest": slice(max(size - k, 0), None)}
    wanted = [end for end in of_end if which in (end, "both")]
    if size <= max(2 * k + 1, 20):  # what Lanczos would store anyway
        matrix = np.stack([product(x) for x in np.eye(size)])
        found, columns = np.linalg.eigh((matrix + matrix.T) / 2)
        chosen = np.unique(
            np.concatenate([np.arange(size)[of_end[end]] for end in wanted])
        )
        return found[chosen], columns[:, chosen]
    start = np.random.default_rng(seed).normal(size=size)
    if not product(start).any():  # which ARPACK refuses
        count = k * len(wanted)
        return np.zeros(count), np.eye(size, count)

    def lanczos(shift: float, count: int, end: str, rtol: float) -> Any:
        matrix = LinearOperator(
            (size, size),
            lambda v: product(v.ravel()) + shift * v.ravel(),
            dtype="float64",
        )
        try:
            return eigsh(matrix, count, which=end, v0=start, tol=rtol)
        except ArpackNoConvergence as error:
            raise ValueError(
                "Lanczos's iteration does not reach the tolerance. Give a "
                f"larger one. Received: tolerance={tolerance}"
            ) from error

    # Eigenvalues near 0 would have to be exact relative to themselves, which
    # rounding forbids; shifted by the largest, they are relative to that.
    (largest,), _ = lanczos(0.0, 1, "LM", 0.1)
    shift = {"smallest": -abs(largest), "largest": abs(largest)}
    parts = []
    for end in wanted:
        code = "SA" if end == "smallest" else "LA"
        found, columns = lanczos(shift[end], k, code, tolerance)
        parts.append((found - shift[end], columns))
    found = np.concatenate([part[0] for part in parts])
    columns = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(found)
    return found[order], columns[:, order]
