"""Quasi-Newton steps."""

from typing import Any

import numpy as np
from scipy import optimize

from kbp.training.full_batch.progress import Progress
from kbp.training.full_batch.registry import register_method


@register_method("l_bfgs")
def l_bfgs(progress: Progress, *, memory: int = 30) -> None:
    """Minimize by SciPy's L-BFGS-B.

    Args:
        progress: where to begin, and whom to tell.
        memory: number of past steps that make up the curvature.
    """

    def step(intermediate_result: Any) -> None:
        found = intermediate_result
        progress.step(np.copy(found.x), float(found.fun))

    found = optimize.minimize(
        progress.objective,
        progress.start,
        jac=True,
        method="L-BFGS-B",
        callback=step,
        options={
            "maxcor": memory,
            "gtol": progress.tolerance,
            "ftol": 0.0,
            "maxiter": progress.max_steps,
            "maxfun": 20 * progress.max_steps,
        },
    )
    progress.objective.assign(found.x)
