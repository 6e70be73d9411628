"""Losses that Keras does not have."""

from kbp.losses.dice_cross_entropy import DiceCrossEntropy
from kbp.losses.pinball import Pinball

__all__ = ["DiceCrossEntropy", "Pinball"]
