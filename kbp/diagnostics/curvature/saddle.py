"""Telling saddles of the loss from minima."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp._utils.arguments import check_penalty
from kbp.diagnostics.curvature.mean_loss import MeanLoss
from kbp.diagnostics.curvature.spectrum import check_tolerance, ends


@dataclass(frozen=True, eq=False)
class SaddleCheck:
    """The gradient and the curvature where a model's weights are.

    It is true as a condition at a strict saddle alone.

    Attributes:
        gradient_norm: length of the gradient over all weights.
        smallest: the smallest eigenvalue of the Hessian.
        largest: the largest one.
        direction: the eigenvector of the smallest, of length 1, with an array
            for each of the model's trained variables.
        flat: whether the gradient is small.
        downhill: whether the smallest eigenvalue is clearly negative.

    Example:
    >>> print(SaddleCheck(1e-9, -0.5, 2.0, (), True, True))
    The weights are at a strict saddle: the gradient's norm is 1e-09, and the
    loss falls along a direction (eigenvalues from -0.5 to 2).
    """

    gradient_norm: float
    smallest: float
    largest: float
    direction: tuple[np.ndarray, ...]
    flat: bool
    downhill: bool

    def __bool__(self) -> bool:
        return self.flat and self.downhill

    def __str__(self) -> str:
        place = (
            ("at no stationary point", "at no stationary point"),
            ("at a minimum, or a valley's floor", "at a strict saddle"),
        )[self.flat][self.downhill]
        course = "falls along a direction" if self.downhill else "falls nowhere"
        link = "and" if self.flat else "and by its curvature"
        return (
            f"The weights are {place}: the gradient's norm is "
            f"{self.gradient_norm:.3g}, {link} the loss {course} (eigenvalues "
            f"from {self.smallest:.3g} to {self.largest:.3g})."
        )


def is_saddle(
    model: keras.Model,
    data: Any,
    *,
    loss: Any = None,
    small_gradient: float = 1e-3,
    negative: float = 1e-3,
    batch_size: int = 32,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> SaddleCheck:
    """Say whether a model's weights are at a strict saddle of the loss.

    There the gradient vanishes as at a minimum, so that training seems done,
    but the loss falls along the direction of a negative eigenvalue. A step
    along it, or `kbp.optimizers.Perturbation`, leads away.

    Args:
        model: built. Layers compute as at inference.
        data: see `hessian_spectrum`, and so are the others.
        loss: as for `compile`; by default that of the compiled model.
        small_gradient: norm up to which the gradient is said to vanish.
        negative: share of the largest absolute eigenvalue below whose negative
            the smallest is clearly negative.
        batch_size: into which arrays are cut.
        tolerance: of the eigenvalues; `negative` must be larger.
        seed: of the vector that the iteration begins with.

    Returns:
        What was found, with a sentence as its text.

    Raises:
        ValueError: see `hessian_spectrum`.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((1,)), *(
    ...     keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    ...     for _ in range(2))])
    >>> data = np.ones((4, 1)), np.ones((4, 1))  # the loss is (1 - w v)^2
    >>> found = kbp.diagnostics.is_saddle(model, data, loss="mse")
    >>> bool(found), round(found.smallest, 4)
    (True, -2.0)
    """
    check_penalty(small_gradient=small_gradient)
    check_tolerance(tolerance=tolerance, negative=negative)
    if negative <= tolerance:
        raise ValueError(
            "Argument `negative` must be larger than `tolerance`. Received: "
            f"negative={negative}, tolerance={tolerance}"
        )
    objective = MeanLoss(model, data, loss, batch_size)
    norm = float(np.linalg.norm(objective.gradient()))
    found, columns = ends(objective, 1, "both", tolerance, seed)
    smallest, largest = float(found[0]), float(found[-1])
    return SaddleCheck(
        norm,
        smallest,
        largest,
        objective.split(columns[:, 0]),
        norm <= small_gradient,
        smallest < -negative * max(abs(smallest), abs(largest)),
    )
