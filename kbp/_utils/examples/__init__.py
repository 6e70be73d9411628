"""Examples in any form that `fit` and `predict` take, read as batches."""

from kbp._utils.examples.batch import Batch, joined
from kbp._utils.examples.reading import (
    BATCH_SIZE,
    Shape,
    Shapes,
    batches,
    check_arrays,
    first,
    shapes_of,
    whole,
)

__all__ = [
    "BATCH_SIZE",
    "Batch",
    "Shape",
    "Shapes",
    "batches",
    "check_arrays",
    "first",
    "joined",
    "shapes_of",
    "whole",
]
