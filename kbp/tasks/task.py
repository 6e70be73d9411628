"""What a recipe's data section stands for: data, head, loss and metric."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp.data.series import SeriesSplits
from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy
from kbp.recipes.recipe import Recipe
from kbp.recipes.sections import LossRecipe


class Task(ABC):
    """A data set in the layout that a recipe's model reads.

    Args:
        recipe: its sections `data`, `loss` and `training` count here.
        splits: the examples.

    Attributes:
        metric: what the score is, one of `kbp.reports.stage.FORMATS`.
        shape: of one example as the model reads it.
        steps: training steps of an epoch.
        loss: of the model's outputs.

    Raises:
        UserError: a batch is larger than the training split, or the section
            `loss` does not fit the task.
    """

    metric: str

    def __init__(self, recipe: Recipe, splits: data.Splits | SeriesSplits):
        self.recipe, self.splits = recipe, splits
        self.shape = splits.input_shape
        self.batch_size = recipe.training.batch_size
        self.steps = data.steps_per_epoch(splits.train, self.batch_size)
        if not self.steps:
            raise UserError(
                "training.batch_size must be at most the "
                f"{len(splits.train)} training examples; received "
                f"{self.batch_size}"
            )
        self.loss = self.make_loss(recipe.loss)

    def make_loss(self, section: LossRecipe) -> keras.losses.Loss:
        """Return the loss, by default of logits of classes."""
        return class_loss(section, len(self.splits.class_names))

    @abstractmethod
    def build(self) -> keras.Model:
        """Build the recipe's model, with a head for this task."""

    def start(self, model: keras.Model) -> keras.Model:
        """Give a new model the weights that are known before training."""
        return model

    @abstractmethod
    def metrics(self) -> list:
        """Return what `fit` is to follow."""

    def augment(self) -> Callable | None:
        """Return what changes training batches, see `training_batches`."""
        return None

    @abstractmethod
    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        """Return the metric of a model's outputs for a split."""

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        """Return what else there is to say of outputs for the test split.

        Args:
            outputs: for its examples.

        Returns:
            Names and values, as text.
        """
        return {}

    @abstractmethod
    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        """Return headings and SVG texts, the last one of test examples.

        Args:
            outputs: of the int8 file, for the test examples.
        """

    def training_batches(
        self, *, seed: int, start_step: int = 0
    ) -> tf.data.Dataset:
        """Return the endless, augmented batches from a step on."""
        batches = data.training_batches(
            self.splits.train,
            self.batch_size,
            seed=seed,
            start_step=start_step,
            augment=self.augment(),
        )
        return batches.map(self._lay_out)

    def batches(
        self, split: str, batch_size: int | None = None
    ) -> tf.data.Dataset:
        """Return the batches of a split, in order and unchanged."""
        batches = data.evaluation_batches(
            getattr(self.splits, split), batch_size or self.batch_size
        )
        return batches.map(self._lay_out)

    def calibration_batches(self) -> tf.data.Dataset:
        """Return training batches that show what ranges there are."""
        return self.batches("train")

    def describe(self) -> str:
        """Say how many examples there are."""
        splits = self.splits
        return (
            f"{len(splits.train)} training, {len(splits.validation)} "
            f"validation, {len(splits.test)} test examples"
        )

    def inputs(self, split: str) -> np.ndarray:
        """Return a split's inputs as one array."""
        inputs = getattr(self.splits, split).inputs
        return inputs.reshape(-1, *self.shape)

    def _lay_out(self, inputs, labels):
        return inputs, labels


def check_unused(name: str, section, reason: str, *keys: str) -> None:
    """Refuse keys of a section that would change nothing.

    Args:
        name: of the section.
        section: its dataclass.
        reason: why they cannot be changed.
        *keys: that must have their usual values.

    Raises:
        UserError: one has another.
    """
    usual = type(section)()
    for key in keys:
        if getattr(section, key) != getattr(usual, key):
            raise UserError(f"{name}.{key} cannot be changed: {reason}")


def class_loss(section: LossRecipe, num_classes: int) -> keras.losses.Loss:
    """Return the loss of logits.

    Raises:
        UserError: the class weights are not one for each class, or a value is
            out of range.
    """
    check_unused("loss", section, "it is for forecasts", "error")
    if section == LossRecipe():
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = dataclasses.asdict(section)
    del options["error"]
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
