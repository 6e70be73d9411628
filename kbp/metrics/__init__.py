"""Metrics of segmentation masks that Keras does not have."""

from kbp.metrics.membranes import information_f_score, rand_f_score
from kbp.metrics.overlap import Dice, IoU

__all__ = ["Dice", "IoU", "information_f_score", "rand_f_score"]
