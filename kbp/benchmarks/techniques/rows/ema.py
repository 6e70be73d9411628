"""A moving average of the weights, which the stage ends with."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("ema", Technique("moving average", ("optimizer.averaging=ema",)))
