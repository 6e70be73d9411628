"""Residual blocks that are dropped, the last one at this rate."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "stochastic_depth",
    Technique("stochastic depth 0.2", ("model.stochastic_depth=0.2",)),
)
