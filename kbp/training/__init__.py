"""Training by recipe: fit, prune, quantize, export, verify, report."""

from kbp.training.distribution import create_strategy
from kbp.training.pipeline import run

__all__ = ["create_strategy", "run"]
