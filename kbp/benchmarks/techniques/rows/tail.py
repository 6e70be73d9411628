"""The mean of the weights over the last steps."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("tail", Technique("tail average", ("optimizer.averaging=tail",)))
