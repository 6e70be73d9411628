"""Steps to the bottom of a parabola that fits the loss."""

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from kbp.training.full_batch.progress import Progress
from kbp.training.full_batch.registry import register_method

_FIRST = 1e-3  # damping, relative to the curvature along the gradient
_PATIENCE = 30  # steps uphill in a row, after which rounding is all there is


@register_method("gauss_newton")
def gauss_newton(
    progress: Progress, *, damping: float = _FIRST, inner_steps: int = 0
) -> None:
    """Minimize by damped Gauss-Newton steps.

    A step `d` solves `(G + mu I) d = -gradient` by conjugate gradients, with
    products with the Gauss-Newton matrix `G` alone, see
    `Objective.curvature_product`. The damping `mu` follows the ratio of the
    loss that was gained to what the parabola had promised, by Nielsen's rule.

    Args:
        progress: where to begin, and whom to tell.
        damping: the first `mu`, as a share of the curvature along the gradient.
        inner_steps: of the conjugate gradients, at most; 0 for as many as there
            are weights.

    Reference:
        Levenberg 1944, Marquardt 1963; Nielsen, Damping Parameter in
        Marquardt's Method, 1999; Martens, Deep Learning via Hessian-Free
        Optimization, 2010.
    """
    objective, weights = progress.objective, progress.start
    loss, gradient = objective(weights)
    along = objective.curvature_product(gradient) @ gradient
    mu = damping * max(along / max(gradient @ gradient, 1e-300), 1e-12)
    factor, uphill = 2.0, 0
    while np.abs(gradient).max() > progress.tolerance and uphill < _PATIENCE:
        objective.assign(weights)
        step = _step(objective.curvature_product, gradient, mu, inner_steps)
        promised = step @ (mu * step - gradient) / 2
        new_loss, new_gradient = objective(weights + step)
        if np.isfinite(new_loss) and new_loss < loss:
            ratio = (loss - new_loss) / max(promised, 1e-300)
            mu *= max(1 / 3, 1 - (2 * min(ratio, 1.0) - 1) ** 3)
            factor, uphill = 2.0, 0
            weights, loss, gradient = weights + step, new_loss, new_gradient
            progress.step(weights, loss)
        else:
            mu, factor, uphill = mu * factor, 2 * factor, uphill + 1
            progress.check()
    objective.assign(weights)


def _step(
    product: Callable[[np.ndarray], np.ndarray],
    gradient: np.ndarray,
    mu: float,
    inner_steps: int,
) -> np.ndarray:
    """Return the step that the damped parabola asks for."""
    size = gradient.size
    norm = np.linalg.norm(gradient)
    matrix = LinearOperator(
        (size, size), lambda d: product(d.ravel()) + mu * d.ravel()
    )
    # The nearer the bottom, the more exact (Dembo, Eisenstat and Steihaug).
    step, _ = cg(
        matrix,
        -gradient,
        rtol=min(0.1, float(np.sqrt(norm))),
        maxiter=inner_steps or size,
    )
    return step
