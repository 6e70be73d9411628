"""Arithmetic in 16 bits, with a scaled loss."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add(
    "mixed_float16",
    Technique("mixed_float16", ("training.precision=mixed_float16",)),
)
