"""The loss of logits of classes, by a recipe's section `[loss]`."""

import dataclasses
from dataclasses import dataclass

import keras

from kbp._utils.config import number
from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy


@dataclass(frozen=True)
class ClassLossConfig:
    """Section `[loss]` of classes, see `kbp.losses.DiceCrossEntropy`."""

    cross_entropy_weight: float = number(1.0, 0)
    dice_weight: float = number(0.0, 0)
    focal_gamma: float = number(0.0, 0)
    alpha: float = number(0.5, 0)
    beta: float = number(0.5, 0)
    smooth: float = number(1.0, 0)
    class_weights: tuple[float, ...] = ()
    per_image: bool = False


def class_loss(section: ClassLossConfig, num_classes: int) -> keras.losses.Loss:
    """Return the loss of logits.

    Raises:
        UserError: the class weights are not one for each class, or a value is
            out of range.
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
    try:
        return DiceCrossEntropy(**{**options, "class_weights": weights or None})
    except ValueError as error:
        raise UserError(f"[loss] {error}") from error
