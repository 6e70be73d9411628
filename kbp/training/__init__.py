"""Training by recipe: fit, prune, quantize, export, verify, report."""

from kbp.training.compress import Compressed, compress
from kbp.training.distribution import create_strategy
from kbp.training.full_batch import minimize, register_method
from kbp.training.runs import run
from kbp.training.techniques.distillation import distilled
from kbp.training.techniques.ensembles import bagging, combined
from kbp.training.techniques.starts import Starts, multi_start

__all__ = [
    "Compressed",
    "Starts",
    "bagging",
    "combined",
    "compress",
    "create_strategy",
    "distilled",
    "minimize",
    "multi_start",
    "register_method",
    "run",
]
