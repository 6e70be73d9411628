"""One network that learns from five, trained on bootstrap samples."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "distilled",
    Technique(
        "distilled from 5", ("ensemble.members=5", "ensemble.distill=true")
    ),
)
