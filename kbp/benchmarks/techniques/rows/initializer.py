"""Kernels that begin wider than by Glorot's rule."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "initializer", Technique("He, normal", ("model.initializer=he_normal",))
)
