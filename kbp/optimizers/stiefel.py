"""A constraint that keeps a kernel semi-orthogonal."""

import math
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.math import polar_factor


@keras.saving.register_keras_serializable(package="kbp")
class StiefelConstraint(keras.constraints.Constraint):
    """Retract a kernel onto the Stiefel manifold after each step.

    The kernel `(..., outputs)`, flattened to a matrix `W` of `outputs` columns,
    is replaced by its polar factor, the nearest matrix with orthonormal columns
    (or rows, where there are fewer of them):

        W = P S,   P^T P = I

    Args:
        scale: positive; all singular values of the result.

    Raises:
        ValueError: `scale` is not positive; the kernel has less than two
            dimensions.

    Example:
    >>> import keras, numpy, kbp
    >>> layer = keras.layers.Dense(
    ...     3, kernel_constraint=kbp.optimizers.StiefelConstraint()
    ... )
    >>> kernel = layer.kernel_constraint(numpy.eye(4, 3, dtype="float32") * 5)
    >>> numpy.round(kernel[0], 5).tolist()
    [1.0, 0.0, 0.0]

    Reference:
        Absil et al., Optimization Algorithms on Matrix Manifolds, 2008
        (retractions); Higham, Computing the Polar Decomposition, 1986.
    """

    def __init__(self, scale: float = 1.0):
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(
                "Argument `scale` must be positive and finite. "
                f"Received: scale={scale}"
            )
        self.scale = scale

    def __call__(self, w: Tensor) -> Tensor:
        shape = tuple(w.shape)
        if len(shape) < 2:
            raise ValueError(
                "StiefelConstraint needs a kernel of two or more dimensions. "
                f"Received: shape {shape}"
            )
        matrix = ops.reshape(w, (math.prod(shape[:-1]), shape[-1]))
        return ops.reshape(self.scale * polar_factor(matrix), shape)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale}
