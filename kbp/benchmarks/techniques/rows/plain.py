"""The recipe as it is, which the others are compared with."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("plain", Technique("plain"))
