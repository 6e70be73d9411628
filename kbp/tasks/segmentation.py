"""One label for each pixel."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import keras
import numpy as np

from kbp import data
from kbp._utils.config import number
from kbp.data.splits import Augment
from kbp.errors import UserError
from kbp.export import Metadata
from kbp.export.metadata.common import logits, pixels
from kbp.metrics import Dice, IoU
from kbp.reports import figures
from kbp.tasks.class_loss import ClassLossConfig, recipe_loss
from kbp.tasks.predict_masks import MaskPrediction
from kbp.tasks.registry import register_task
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_MASKS = "Masks of the int8 file, the worst first"
Overlap = TypeVar("Overlap", bound=keras.metrics.Metric)


@dataclass(frozen=True)
class MaskAugmentationConfig:
    """Section `[augmentation]` of images and masks, see `kbp.data.deform`."""

    flip: bool = False
    rotation: float = number(0.0, 0, 180)
    zoom: float = number(0.0, 0, 0.5)
    elastic: float = number(0.0, 0, 1000)
    intensity: float = number(0.0, 0, 1)


@register_task("segmentation")
class Segmentation(Task):
    """One label for each pixel; the score is the mean Dice of the images."""

    metric = "Dice"
    metric_format = "{:.2%}"
    sections: ClassVar[dict[str, type]] = {
        "loss": ClassLossConfig,
        "augmentation": MaskAugmentationConfig,
    }
    takes = "images in [0, 1]"
    gives = "logits of each pixel"
    votes = True
    captions: ClassVar[Mapping[str, str]] = {
        _MASKS: "Outlines of the true and of the predicted regions; above each "
        "image stands the share of its pixels that is wrong."
    }
    prediction = MaskPrediction

    def __init__(self, recipe: "Recipe", splits: data.Splits):
        super().__init__(recipe, splits)
        if splits.train.labels.shape != splits.train.inputs.shape[:3]:
            raise self.unfit(recipe, "no mask for each image")
        height, width, _ = self.shape
        if self.section(MaskAugmentationConfig).flip and height != width:
            raise UserError(
                "augmentation.flip turns images by right angles, so they must "
                f"be square; these are of {height}x{width} pixels"
            )

    def make_loss(self) -> keras.losses.Loss:
        return recipe_loss(self)

    def build(self) -> keras.Model:
        classes = len(self.splits.class_names)
        return self.recipe.model.build(self.shape, classes, head="segmentation")

    def metrics(self) -> list[Any]:
        return [Dice(len(self.splits.class_names))]

    def augment(self) -> Augment | None:
        return data.deform(**asdict(self.section(MaskAugmentationConfig)))

    def compact(self, outputs: np.ndarray) -> np.ndarray:
        """Return masks, also of masks."""
        if outputs.ndim == 3:
            return outputs
        few = outputs.shape[-1] <= 256
        return outputs.argmax(axis=-1).astype("uint8" if few else "int32")

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        return float(self.overlap(Dice, outputs, split).result())

    def overlap(
        self,
        kind: type[Overlap],
        outputs: np.ndarray,
        split: str,
        per_image: bool = True,
    ) -> Overlap:
        """Return a metric that has seen a split.

        Args:
            kind: `Dice` or `IoU`.
            outputs: logits or masks for the split's examples.
            split: name of the split.
            per_image: average over images, not over all pixels together.
        """
        metric = kind(len(self.splits.class_names), per_image=per_image)
        labels = getattr(self.splits, split).labels
        for start in range(0, len(labels), 16):  # bounds the memory
            part = slice(start, start + 16)
            metric.update_state(labels[part], outputs[part])
        return metric

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        found, masks = {}, self.compact(outputs)  # once for all scores
        for kind in (Dice, IoU):
            for per_image, mean in ((True, "images"), (False, "pixels")):
                metric = self.overlap(kind, masks, "test", per_image)
                values = keras.ops.convert_to_numpy(metric.per_class())
                pairs = zip(self.splits.class_names[1:], values, strict=True)
                for name, value in pairs:
                    title = f"{kind.__name__} of {name}, of the {mean}"
                    found[title] = f"{value:.2%}"
        return found

    def metadata(self) -> Metadata:
        return replace(
            super().metadata(),
            inputs=(pixels(self.shape),),
            outputs=(logits(self.splits.class_names, "height", "width"),),
        )

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        return {
            _MASKS: figures.sample_masks(
                self.splits.test, self.compact(outputs)
            )
        }
