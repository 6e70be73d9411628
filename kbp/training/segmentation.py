"""One label for each pixel."""

import numpy as np

from kbp import data
from kbp.errors import UserError
from kbp.metrics import Dice
from kbp.training import plots
from kbp.training.recipe import Recipe
from kbp.training.task import Task


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
