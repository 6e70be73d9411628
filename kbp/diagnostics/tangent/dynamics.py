"""How gradient descent on squares goes on, as its kernel determines."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kbp._utils.arguments import check_integer
from kbp.diagnostics.tangent.kernel import as_matrix, flattened


def predict_dynamics(
    kernel: np.ndarray,
    y: np.ndarray,
    learning_rate: float,
    t: float | Sequence[float],
    *,
    start: np.ndarray | float = 0.0,
    cross: np.ndarray | None = None,
    cross_start: np.ndarray | float = 0.0,
    discrete: bool = False,
) -> np.ndarray:
    """Predict the outputs of a network during gradient descent on its MSE.

    That is exact of `linearized` models, and nearly so of wide networks. Keras
    takes the mean of squares over the `n` examples and the outputs, so its
    gradient has a factor of `2 / (n outputs)`, and the outputs of the training
    inputs follow

        f(t) = y + exp(-2 learning_rate / (n outputs) kernel t) (f(0) - y),

    or `(1 - 2 learning_rate / (n outputs) kernel)^t` instead of the exponential
    for steps of a finite size. Each step is on all examples, without momentum.

    Args:
        kernel: of the training inputs, `(n, n)` for independent outputs that
            share it, or `(n, n, outputs, outputs)`, see `tangent_kernel`.
        y: targets, `(n,)` or `(n, outputs)`.
        learning_rate: of the descent.
        t: number of steps, or several.
        start: outputs before the training, in the shape of `y`.
        cross: kernel of other inputs with the training inputs, `(m, n)` or
            `(m, n, outputs, outputs)`; then the outputs of those are returned.
        cross_start: their outputs before the training.
        discrete: whether steps are of a finite size; then `t` is whole.

    Returns:
        Outputs in the shape of `y`, with `m` examples for a cross kernel, and
        an axis in front for several `t`.

    Raises:
        ValueError: shapes do not fit, or an argument is out of range.

    Reference:
        Lee et al., Wide Neural Networks of Any Depth Evolve as Linear Models
        Under Gradient Descent, 2019, equations 8 to 11.

    Example:
    >>> import numpy as np, kbp
    >>> kernel, y = np.diag([4.0, 1.0]), np.array([1.0, 1.0])
    >>> kbp.diagnostics.predict_dynamics(kernel, y, 0.1, [0, 2], discrete=True)
    array([[0.  , 0.  ],
           [0.64, 0.19]])
    """
    y = np.asarray(y, "float64")
    kernel = np.asarray(kernel, "float64")
    _check(kernel, y, cross)
    _check_start("start", start, y.shape)
    if cross is not None:
        _check_start("cross_start", cross_start, (len(cross), *y.shape[1:]))
    if not 0 < learning_rate < np.inf:
        raise ValueError(
            "Argument `learning_rate` must be positive and finite. "
            f"Received: learning_rate={learning_rate}"
        )
    for time in np.ravel(t):
        if discrete:
            check_integer(least=0, t=time)
        elif not 0 <= time < np.inf:
            raise ValueError(
                f"Argument `t` must not be negative, and finite. Received: {t}"
            )
    shape = y.shape if kernel.ndim == 2 else (y.size,)
    found, vectors = np.linalg.eigh(as_matrix(kernel))
    rates = 2 * learning_rate / y.size * found
    if discrete and rates.max() > 2:
        raise ValueError(
            "Argument `learning_rate` is so large that the descent diverges; "
            f"at most {2 * learning_rate / rates.max():.3g} does not. Received:"
            f" learning_rate={learning_rate}"
        )
    gap = vectors.T @ np.reshape(y - start, shape)

    if cross is None:
        onto, first, scale, rows = vectors, start, np.ones(len(found)), len(y)
    else:
        other = np.asarray(cross, "float64")
        rows, first = len(other), cross_start
        onto = (other if other.ndim == 2 else flattened(other)) @ vectors
        scale = np.where(found > 0, found, 1.0)

    def moved(time: float) -> np.ndarray:
        """Return how far outputs have come at a time."""
        if discrete:
            share = 1 - (1 - rates) ** time
        else:
            share = -np.expm1(-rates * time)
        # What has no slope never moves.
        share = np.where(found > 0, share, 0.0) / scale
        way = onto @ (share.reshape(-1, *[1] * (gap.ndim - 1)) * gap)
        return first + way.reshape(rows, *y.shape[1:])

    outputs = np.stack([moved(time) for time in np.ravel(t)])
    return outputs if np.ndim(t) else outputs[0]


def _check(kernel: np.ndarray, y: np.ndarray, cross: np.ndarray | None) -> None:
    outputs = y.shape[1] if y.ndim == 2 else 1
    pair = kernel.shape[2:]
    if y.ndim not in (1, 2) or kernel.shape[:1] != y.shape[:1]:
        raise ValueError(
            "Argument `y` must be of shape (n,) or (n, outputs) for a kernel "
            f"of n examples. Received: {y.shape} and {kernel.shape}"
        )
    if pair and pair != (outputs, outputs):
        raise ValueError(
            f"Argument `kernel` must be of {outputs} outputs, as `y` is. "
            f"Received: {kernel.shape}"
        )
    if cross is None:
        return
    found = np.shape(cross)
    if len(found) < 2 or found[1:] != (len(y), *pair):
        raise ValueError(
            f"Argument `cross` must be of shape {('m', len(y), *pair)}. "
            f"Received: {found}"
        )


def _check_start(name: str, start: np.ndarray | float, shape: Any) -> None:
    if np.shape(start) not in ((), shape):
        raise ValueError(
            f"Argument `{name}` must be of shape {shape}. Received: "
            f"{np.shape(start)}"
        )
