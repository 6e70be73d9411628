"""The loss of logits of classes, by a recipe's section `[loss]`."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp._utils.config import changed, choice, number
from kbp.data.lazy import Array, chunks
from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy
from kbp.tasks.task import Task

# What a name stands for; these keys cannot be given beside it.
NAMED: dict[str, dict[str, float]] = {
    "cross_entropy": {},
    "kl_divergence": {"dice_weight": 0.0, "focal_gamma": 0.0},
    "focal": {"dice_weight": 0.0},
    "dice": {
        "cross_entropy_weight": 0.0,
        "dice_weight": 1.0,
        "focal_gamma": 0.0,
    },
}
_GAMMA = 2.0


@dataclass(frozen=True)
class ClassLossConfig:
    """Section `[loss]` of classes, see `kbp.losses.DiceCrossEntropy`.

    "cross_entropy" is the sum that the weights say, by default the first term
    alone; "focal" is that with a `focal_gamma` of 2, "dice" the second term,
    and "kl_divergence" the cross-entropy less that of the labels with
    themselves, which are soft by `training.label_smoothing`. With `balance`
    the class weights are such that all classes count alike in training,
    however many examples or pixels they have.
    """

    name: str = choice("cross_entropy", tuple(NAMED))
    cross_entropy_weight: float = number(1.0, 0, 1e6)
    dice_weight: float = number(0.0, 0, 1e6)
    focal_gamma: float | None = number(None, 0, 100)
    alpha: float = number(0.5, 0, 1e6)
    beta: float = number(0.5, 0, 1e6)
    smooth: float = number(1.0, 0, 1e6)
    class_weights: tuple[float, ...] = ()
    balance: bool = False
    per_image: bool = False

    def __post_init__(self) -> None:
        if self.name != "focal" and not self.focal_gamma:
            # 0 is what it is without a value, which "focal" has another for.
            object.__setattr__(self, "focal_gamma", None)


def recipe_loss(task: Task) -> keras.losses.Loss:
    """Return the loss that a task's recipe asks for, see `class_loss`.

    Args:
        task: whose splits have `class_names`.
    """
    return class_loss(
        task.section(ClassLossConfig),
        task.splits.train.labels,
        len(task.splits.class_names),
        task.recipe.training.label_smoothing,
    )


def class_loss(
    section: ClassLossConfig,
    labels: Array,
    num_classes: int,
    label_smoothing: float = 0.0,
) -> keras.losses.Loss:
    """Return the loss of logits.

    Args:
        section: of the recipe.
        labels: integers, the classes of all training examples or pixels.
        num_classes: number of classes.
        label_smoothing: of the recipe's training.

    Raises:
        UserError: the class weights are not one for each class, or given though
            they are to be balanced, or a value is out of range.
    """
    if section == ClassLossConfig() and not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = dataclasses.asdict(section)
    name, given = options.pop("name"), changed(section)
    if unused := [key for key in NAMED[name] if key in given]:
        raise UserError(
            f"loss.{unused[0]} has no effect: loss.name is {name!r}"
        )
    if section.focal_gamma is None:
        options["focal_gamma"] = _GAMMA if name == "focal" else 0.0
    options |= {**NAMED[name], "label_smoothing": label_smoothing}
    options["divergence"] = name == "kl_divergence"
    _check_effects(options, given)
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


def _check_effects(options: dict[str, Any], given: Collection[str]) -> None:
    """Refuse what a term with a weight of 0 would use."""
    weights = ("cross_entropy_weight", "dice_weight")
    if not any(options[weight] for weight in weights):
        raise UserError(
            "loss.cross_entropy_weight and loss.dice_weight are both 0; one "
            "must be more"
        )
    for weight, keys in zip(
        weights, (("focal_gamma",), ("alpha", "beta", "smooth")), strict=True
    ):
        for key in keys:
            if not options[weight] and key in given:
                raise UserError(f"loss.{key} has no effect: loss.{weight} is 0")
    if options["label_smoothing"] and not options["cross_entropy_weight"]:
        raise UserError(
            "training.label_smoothing has no effect: there is no cross-entropy"
        )
