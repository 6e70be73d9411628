"""Dropout before the last layers."""

from kbp.benchmarks.techniques.registry import TECHNIQUES, Technique

TECHNIQUES.add("dropout", Technique("dropout 0.1", ("model.dropout=0.1",)))
