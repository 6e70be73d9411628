"""A learning rate that falls where the validation loss stays."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "plateau",
    Technique(
        "plateau",
        (
            "optimizer.schedule=plateau",
            "optimizer.patience=2",
        ),
    ),
)
