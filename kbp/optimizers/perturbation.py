"""Noise that carries weights away from saddles of the loss."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Tensor


@dataclass(frozen=True)
class Perturbation:
    """Noise in a ball, where the gradient has stayed small.

    At a saddle the gradient is zero and descent stays, though the loss falls in
    some direction. A step whose gradient, over all weights, has a norm of
    `threshold` or less adds a vector that is uniform in a ball of `radius`;
    then `patience` steps follow without noise. Strict saddles, where the
    Hessian has a negative eigenvalue, are left in a number of steps that grows
    with the logarithm of the number of weights.

    The noise depends on the seed and the number of the step alone, so that a
    resumed training and N replicas have the same.

    Attributes:
        radius: of the ball, in the weights' units.
        threshold: norm of the gradient.
        patience: steps between two perturbations.
        seed: of the noise.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import keras, kbp
    >>> w = keras.Variable([0.0])  # the top of -w^2, where its gradient is 0
    >>> noise = kbp.optimizers.Perturbation(radius=0.1, threshold=1e-3)
    >>> optimizer = kbp.HybridOptimizer(0.1, perturbation=noise)
    >>> optimizer.apply([keras.ops.array([0.0])], [w])
    >>> 0 < abs(float(w[0])) <= 0.1
    True

    Reference:
        Jin et al., How to Escape Saddle Points Efficiently, 2017, algorithm 2.
    """

    radius: float
    threshold: float
    patience: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("radius", "threshold"):
            value = getattr(self, name)
            known = isinstance(value, int | float | np.floating)
            if not (known and 0 < value < math.inf):
                raise ValueError(
                    f"Argument `{name}` must be a positive number. "
                    f"Received: {name}={value}"
                )
        for name, least in (("patience", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(
                    f"Argument `{name}` must be a whole number, {least} or "
                    f"more. Received: {name}={value}"
                )

    def noise(
        self, weights: Sequence[keras.Variable], step: Tensor
    ) -> list[Tensor]:
        """Return a vector in the ball, in the shapes of the weights.

        Args:
            weights: of which it is a part each.
            step: number of the step, a scalar tensor of integers.
        """
        # One sequence of numbers: draws differ by the number of the draw.
        seeds = _Seeds(self.seed, step, 1 + len(weights))
        parts = [
            keras.random.normal(w.shape, dtype=w.dtype, seed=seeds)
            for w in weights
        ]
        uniform = keras.random.uniform((), seed=seeds)
        size = sum(math.prod(w.shape) for w in weights)
        length = ops.sqrt(
            sum(ops.sum(ops.square(ops.cast(x, "float32"))) for x in parts)
        )
        factor = self.radius * uniform ** (1 / size) / length
        return [x * ops.cast(factor, x.dtype) for x in parts]


class _Seeds(keras.random.SeedGenerator):
    """Seeds by the number of a step, which need no state to be kept.

    Args:
        seed: of the training.
        step: scalar tensor of integers.
        count: draws of a step.
    """

    def __init__(self, seed: int, step: Tensor, count: int):
        # Without the base class's, which makes a variable.
        self._seed, self._next = seed, ops.cast(step, "int32") * count

    def next(self, ordered: bool = True) -> Tensor:
        drawn, self._next = self._next, self._next + 1
        return ops.stack([ops.full((), self._seed, dtype="int32"), drawn])
