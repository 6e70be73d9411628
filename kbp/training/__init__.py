"""From a recipe to a trained, pruned, quantized and exported model."""

from kbp.training.distribution import create_strategy
from kbp.training.pipeline import run

__all__ = ["create_strategy", "run"]
