"""What a recipe's data section stands for: data, loss and metric."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp.data import cifar10, digits
from kbp.errors import UserError
from kbp.training.recipe import DataRecipe, Recipe


class Task:
    """A data set in the layout that a recipe's model reads.

    Args:
        recipe: its sections `data` and `training` count here.
        data_dir: folder of the data sets that are read from files.

    Attributes:
        splits: the examples.
        shape: of one example as the model reads it.
        steps: training steps of an epoch.
        loss: of a classifier that gives logits.

    Raises:
        UserError: a file is missing or wrong, or a batch is larger than the
            training split.
    """

    def __init__(self, recipe: Recipe, data_dir: str | Path | None = None):
        self.recipe = recipe
        self.splits = _load(recipe.data, data_dir)
        self.batch_size = recipe.training.batch_size
        height, width, channels = self.splits.input_shape
        rows = recipe.data.layout == "rows"
        self.shape = (
            (height, width * channels) if rows else (height, width, channels)
        )
        self.steps = data.steps_per_epoch(self.splits.train, self.batch_size)
        if not self.steps:
            raise UserError(
                "training.batch_size must be at most the "
                f"{len(self.splits.train)} training examples; received "
                f"{self.batch_size}"
            )
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def training_batches(
        self, *, seed: int, start_step: int = 0
    ) -> tf.data.Dataset:
        """Return the endless, augmented batches from a step on."""
        augment = data.affine(
            rotation=self.recipe.data.rotation,
            shift=self.recipe.data.shift,
            zoom=self.recipe.data.zoom,
            flip=self.recipe.data.flip,
        )
        batches = data.training_batches(
            self.splits.train,
            self.batch_size,
            seed=seed,
            start_step=start_step,
            augment=augment,
        )
        return self._lay_out(batches)

    def batches(self, split: str) -> tf.data.Dataset:
        """Return the batches of a split, in order and unchanged."""
        examples = getattr(self.splits, split)
        return self._lay_out(data.evaluation_batches(examples, self.batch_size))

    def inputs(self, split: str) -> np.ndarray:
        """Return a split's inputs as one array."""
        inputs = getattr(self.splits, split).inputs
        return inputs.reshape(-1, *self.shape)

    def accuracy(self, logits: np.ndarray, split: str = "test") -> float:
        """Return the share of examples whose largest logit is the label's."""
        labels = getattr(self.splits, split).labels
        return float(np.mean(np.argmax(logits, axis=-1) == labels))

    def _lay_out(self, batches):
        return batches.map(lambda x, y: (tf.reshape(x, (-1, *self.shape)), y))


def _load(recipe, data_dir):
    if recipe.name == "cifar10":
        for key in ("image_size", "test_fraction", "split_seed"):
            if getattr(recipe, key) != getattr(DataRecipe, key):
                raise UserError(
                    f"data.{key} cannot be changed: cifar10 has images of "
                    "32x32 and a test split of its own"
                )
        return cifar10.load(
            data_dir, validation_fraction=recipe.validation_fraction
        )
    try:
        return digits.load(
            image_size=recipe.image_size,
            validation_fraction=recipe.validation_fraction,
            test_fraction=recipe.test_fraction,
            split_seed=recipe.split_seed,
        )
    except ValueError as error:  # scikit-learn's: a split without a class
        raise UserError(f"[data] {error}") from error
