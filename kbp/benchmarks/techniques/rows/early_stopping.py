"""A training that ends when the validation loss stays."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "early_stopping",
    Technique("early stopping", ("training.early_stopping={patience=3}",)),
)
