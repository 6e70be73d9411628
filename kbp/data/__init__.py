"""Data sets by name, and batches that are a function of (seed, step)."""

from kbp._utils.config import choice, number
from kbp.data.augment import affine, crop_and_flip
from kbp.data.batches import (
    Resampled,
    Selected,
    evaluation_batches,
    sample_batches,
    steps_per_epoch,
    training_batches,
)
from kbp.data.deform import deform
from kbp.data.registry import DataSet, register_dataset
from kbp.data.series import SeriesSplits, Windows
from kbp.data.splits import Examples, Splits

__all__ = [
    "DataSet",
    "Examples",
    "Resampled",
    "Selected",
    "SeriesSplits",
    "Splits",
    "Windows",
    "affine",
    "choice",
    "crop_and_flip",
    "deform",
    "evaluation_batches",
    "number",
    "register_dataset",
    "sample_batches",
    "steps_per_epoch",
    "training_batches",
]
