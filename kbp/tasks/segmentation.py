"""One label for each pixel."""

import keras
import numpy as np

from kbp import data
from kbp.errors import UserError
from kbp.metrics import Dice, IoU, information_f_score, rand_f_score
from kbp.recipes.recipe import Recipe
from kbp.reports import figures
from kbp.tasks.task import Task


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
        return float(self.overlap(Dice, outputs, split).result())

    def overlap(self, kind, outputs, split, per_image=True):
        """Return a metric that has seen a split."""
        metric = kind(len(self.splits.class_names), per_image=per_image)
        labels = getattr(self.splits, split).labels
        for start in range(0, len(labels), 16):  # bounds the memory
            part = slice(start, start + 16)
            metric.update_state(labels[part], outputs[part])
        return metric

    def details(self, outputs):
        found, masks = {}, outputs.argmax(axis=-1)  # once for all scores
        for kind in (Dice, IoU):
            for per_image, mean in ((True, "images"), (False, "pixels")):
                metric = self.overlap(kind, masks, "test", per_image)
                values = keras.ops.convert_to_numpy(metric.per_class())
                pairs = zip(self.splits.class_names[1:], values, strict=True)
                for name, value in pairs:
                    title = f"{kind.__name__} of {name}, of the {mean}"
                    found[title] = f"{value:.2%}"
        if self.recipe.data.name == "isbi2012":
            pairs = [*zip(self.splits.test.labels, masks, strict=True)]
            for title, score in (
                ("Rand", rand_f_score),
                ("information", information_f_score),
            ):
                values = [score(true, mask) for true, mask in pairs]
                found[f"{title} F-score of cells"] = f"{np.mean(values):.4f}"
        return found

    def figures(self, outputs):
        return {
            "Masks of the int8 file, the worst first": figures.sample_masks(
                self.splits.test, np.argmax(outputs, axis=-1)
            )
        }
