"""One label for each image."""

import numpy as np
import tensorflow as tf

from kbp import data
from kbp.recipes.recipe import Recipe
from kbp.reports import figures
from kbp.tasks.task import Task


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
            "Confusion matrix of the int8 file": figures.confusion_matrix(
                np.argmax(outputs, axis=-1), test.labels, names
            ),
            "Predictions of the int8 file, the wrong ones first": (
                figures.sample_predictions(test, outputs, names)
            ),
        }

    def _lay_out(self, inputs, labels):
        return tf.reshape(inputs, (-1, *self.shape)), labels
