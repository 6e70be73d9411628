"""The loss of logits of classes, by a recipe's section `[loss]`."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from kbp._utils.config import number
from kbp.data.lazy import Array, chunks
from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy


@dataclass(frozen=True)
class ClassLossConfig:
    """Section `[loss]` of classes, see `kbp.losses.DiceCrossEntropy`.

    With `balance` the class weights are such that all classes count alike in
    training, however many examples or pixels they have.
    """

    cross_entropy_weight: float = number(1.0, 0, 1e6)
    dice_weight: float = number(0.0, 0, 1e6)
    focal_gamma: float = number(0.0, 0, 100)
    alpha: float = number(0.5, 0, 1e6)
    beta: float = number(0.5, 0, 1e6)
    smooth: float = number(1.0, 0, 1e6)
    class_weights: tuple[float, ...] = ()
    balance: bool = False
    per_image: bool = False


def class_loss(
    section: ClassLossConfig, labels: Array, num_classes: int
) -> keras.losses.Loss:
    """Return the loss of logits.

    Args:
        section: of the recipe.
        labels: integers, the classes of all training examples or pixels.
        num_classes: number of classes.

    Raises:
        UserError: the class weights are not one for each class, or given though
            they are to be balanced, or a value is out of range.
    """
    if section == ClassLossConfig():
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = dataclasses.asdict(section)
    weights = options["class_weights"]
    if weights and len(weights) != num_classes:
        raise UserError(
            f"loss.class_weights must be {num_classes} numbers, one for each "
            f"class; received {list(weights)}"
        )
    if options.pop("balance"):
        if weights:
            raise UserError(
                "loss.balance finds the weights, so loss.class_weights must "
                f"not be given; received {list(weights)}"
            )
        counts = sum(
            np.bincount(part.ravel(), minlength=num_classes)
            for part in chunks(labels)
        )
        # Of mean 1 over the examples, so the learning rate stays right.
        weights = tuple(np.sum(counts) / (num_classes * np.maximum(counts, 1)))
    try:
        return DiceCrossEntropy(**{**options, "class_weights": weights or None})
    except ValueError as error:
        raise UserError(f"[loss] {error}") from error
