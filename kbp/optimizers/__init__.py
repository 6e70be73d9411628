"""Keras optimizers, weight averaging and a constraint."""

from kbp.optimizers.averaging import averaged_weights, refresh_batch_norm
from kbp.optimizers.hybrid import HybridOptimizer
from kbp.optimizers.loss_scale import LossScale
from kbp.optimizers.perturbation import Perturbation
from kbp.optimizers.stiefel import StiefelConstraint
from kbp.optimizers.synchronized import SynchronizedOptimizer

__all__ = [
    "HybridOptimizer",
    "LossScale",
    "Perturbation",
    "StiefelConstraint",
    "SynchronizedOptimizer",
    "averaged_weights",
    "refresh_batch_norm",
]
