"""Losses that Keras does not have."""

from kbp.losses.dice_cross_entropy import DiceCrossEntropy

__all__ = ["DiceCrossEntropy"]
