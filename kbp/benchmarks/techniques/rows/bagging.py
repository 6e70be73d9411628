"""Five networks, each trained on a bootstrap sample."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("bagging", Technique("ensemble of 5", ("ensemble.members=5",)))
