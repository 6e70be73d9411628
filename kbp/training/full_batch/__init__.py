"""Training on all examples at once, by methods that line up whole steps."""

from kbp.training.full_batch.minimize import minimize
from kbp.training.full_batch.registry import register_method

__all__ = ["minimize", "register_method"]
