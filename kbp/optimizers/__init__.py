"""A Keras optimizer, weight averaging and a constraint."""

from kbp.optimizers.averaging import averaged_weights, refresh_batch_norm
from kbp.optimizers.hybrid import HybridOptimizer
from kbp.optimizers.perturbation import Perturbation
from kbp.optimizers.stiefel import StiefelConstraint

__all__ = [
    "HybridOptimizer",
    "Perturbation",
    "StiefelConstraint",
    "averaged_weights",
    "refresh_batch_norm",
]
