"""Losses that Keras does not have."""

from kbp.losses.dice_cross_entropy import DiceCrossEntropy
from kbp.losses.distillation import Distillation
from kbp.losses.pinball import Pinball
from kbp.losses.scaled_error import ScaledError

__all__ = ["DiceCrossEntropy", "Distillation", "Pinball", "ScaledError"]
