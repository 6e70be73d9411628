"""Layers that are computed twice to spare memory."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "rematerialize",
    Technique("rematerialization", ("training.rematerialize=true",)),
)
