"""A penalty on the squares of the kernels."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("l2", Technique("l2 0.0001", ("model.l2=0.0001",)))
