"""What a recipe's data section stands for: data, head, loss and metric."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp.data import (
    cifar10,
    digits,
    dsb2018,
    image_masks,
    isbi2012,
    splitting,
)
from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy
from kbp.metrics import Dice
from kbp.training import plots
from kbp.training.recipe import Recipe
from kbp.training.sections import (
    DataRecipe,
    ImageMasksRecipe,
    LossRecipe,
)


class Task(ABC):
    """A data set in the layout that a recipe's model reads.

    Args:
        recipe: its sections `data`, `loss` and `training` count here.
        splits: the examples.

    Attributes:
        metric: what the score is, one of `kbp.training.stage.FORMATS`.
        shape: of one example as the model reads it.
        steps: training steps of an epoch.
        loss: of a model that gives logits.

    Raises:
        UserError: a batch is larger than the training split, or the class
            weights are not one for each class.
    """

    metric: str

    def __init__(self, recipe: Recipe, splits: data.Splits):
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
        self.loss = _loss(recipe.loss, len(splits.class_names))

    @abstractmethod
    def build(self) -> keras.Model:
        """Build the recipe's model, with a head for this task."""

    @abstractmethod
    def metrics(self) -> list:
        """Return what `fit` is to follow."""

    @abstractmethod
    def augment(self) -> Callable | None:
        """Return what changes training batches, see `training_batches`."""

    @abstractmethod
    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        """Return the metric of a model's outputs for a split."""

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

    def batches(self, split: str) -> tf.data.Dataset:
        """Return the batches of a split, in order and unchanged."""
        examples = getattr(self.splits, split)
        batches = data.evaluation_batches(examples, self.batch_size)
        return batches.map(self._lay_out)

    def inputs(self, split: str) -> np.ndarray:
        """Return a split's inputs as one array."""
        inputs = getattr(self.splits, split).inputs
        return inputs.reshape(-1, *self.shape)

    def _lay_out(self, inputs, labels):
        return inputs, labels


class Classification(Task):
    """One label for each image."""

    metric = "accuracy"

    def __init__(self, recipe: Recipe, splits: data.Splits):
        super().__init__(recipe, splits)
        if recipe.data.layout == "rows":
            height, width, channels = self.shape
            self.shape = (height, width * channels)

    def build(self):
        classes = len(self.splits.class_names)
        return self.recipe.model.build(self.shape, classes)

    def metrics(self):
        return ["accuracy"]

    def augment(self):
        section = self.recipe.data
        return data.affine(
            rotation=section.rotation,
            shift=section.shift,
            zoom=section.zoom,
            flip=section.flip,
        )

    def score(self, outputs, split="test"):
        labels = getattr(self.splits, split).labels
        return float(np.mean(np.argmax(outputs, axis=-1) == labels))

    def figures(self, outputs):
        test, names = self.splits.test, self.splits.class_names
        return {
            "Confusion matrix of the int8 file": plots.confusion_matrix(
                np.argmax(outputs, axis=-1), test.labels, names
            ),
            "Predictions of the int8 file, the wrong ones first": (
                plots.sample_predictions(test, outputs, names)
            ),
        }

    def _lay_out(self, inputs, labels):
        return tf.reshape(inputs, (-1, *self.shape)), labels


class Segmentation(Task):
    """One label for each pixel; the score is the mean Dice of the images."""

    metric = "Dice"

    def __init__(self, recipe: Recipe, splits: data.Splits):
        super().__init__(recipe, splits)
        height, width, _ = self.shape
        if recipe.data.flip and height != width:
            raise UserError(
                "data.flip turns images by right angles, so they must be "
                f"square; these are of {height}x{width} pixels"
            )

    def build(self):
        classes = len(self.splits.class_names)
        return self.recipe.model.build(self.shape, classes, head="segmentation")

    def metrics(self):
        return [Dice(len(self.splits.class_names))]

    def augment(self):
        section = self.recipe.data
        return data.deform(
            flip=section.flip,
            rotation=section.rotation,
            zoom=section.zoom,
            elastic=section.elastic,
            intensity=section.intensity,
        )

    def score(self, outputs, split="test"):
        dice = Dice(len(self.splits.class_names))
        labels = getattr(self.splits, split).labels
        for start in range(0, len(labels), 16):  # bounds the memory
            part = slice(start, start + 16)
            dice.update_state(labels[part], outputs[part])
        return float(dice.result())

    def figures(self, outputs):
        return {
            "Masks of the int8 file, the worst first": plots.sample_masks(
                self.splits.test, np.argmax(outputs, axis=-1)
            )
        }


def make_task(recipe: Recipe, data_dir: str | Path | None = None) -> Task:
    """Load the data of a recipe and return its task.

    Args:
        recipe: see `Task`.
        data_dir: folder of the data sets that are read from files.

    Raises:
        UserError: a file is missing or wrong, or the recipe does not fit it.
    """
    if isinstance(recipe.data, ImageMasksRecipe):
        return Segmentation(recipe, _load_masks(recipe.data, data_dir))
    return Classification(recipe, _load_images(recipe.data, data_dir))


def _loss(section, num_classes):
    if section == LossRecipe():
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


def _load_images(section, data_dir):
    if section.name == "cifar10":
        _check_unused(section, "image_size", "test_fraction", "split_seed")
        return cifar10.load(
            data_dir, validation_fraction=section.validation_fraction
        )
    try:
        return digits.load(
            image_size=section.image_size,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            split_seed=section.split_seed,
        )
    except ValueError as error:  # scikit-learn's: a split without a class
        raise UserError(f"[data] {error}") from error


def _load_masks(section, data_dir):
    own = ("images", "masks", "color", "class_names", "mask_values", "split")
    fractions = {"validation_fraction": section.validation_fraction}
    if section.name == "dsb2018":
        _check_unused(section, *own, "fold", "folds", "lists", "tile_size")
        fractions["test_fraction"] = section.test_fraction
        return dsb2018.load(data_dir, **fractions)
    if section.name == "isbi2012":
        _check_unused(
            section, *own, "folds", "lists", "tile_size", "test_fraction"
        )
        return isbi2012.load(data_dir, fold=section.fold, **fractions)
    for key in ("images", "masks"):
        if not getattr(section, key):
            raise UserError(f"data.{key} must name a folder")
    splits = {
        "hash": partial(
            splitting.by_hash, test_fraction=section.test_fraction, **fractions
        ),
        "fold": partial(
            splitting.by_fold,
            fold=section.fold,
            folds=section.folds,
            **fractions,
        ),
        "folders": splitting.by_folder,
        "lists": partial(splitting.by_lists, folder=section.lists),
    }
    return image_masks.load(
        section.images,
        section.masks,
        split=splits[section.split],
        channels=3 if section.color else 1,
        class_names=section.class_names,
        mask_values=section.mask_values or None,
        tile_size=section.tile_size or None,
    )


def _check_unused(section: DataRecipe, *keys: str) -> None:
    """Refuse keys that the data set has a value of its own for."""
    usual = type(section)()
    for key in keys:
        if getattr(section, key) != getattr(usual, key):
            raise UserError(
                f"data.{key} cannot be changed: {section.name} has its own"
            )
