"""The best of five trainings on the validation data."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "starts",
    Technique("best of 5 starts", ("training.starts=5",), seeds=5),
)
