"""Keras optimizers."""

from kbp.optimizers.hybrid import HybridOptimizer

__all__ = ["HybridOptimizer"]
