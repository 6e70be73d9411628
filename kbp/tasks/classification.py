"""One label for each image."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp._utils.config import choice, number
from kbp.data.lazy import by_parts
from kbp.data.splits import Augment, Tensor
from kbp.export import Metadata, TensorInfo
from kbp.export.metadata.common import logits, pixels
from kbp.reports import figures
from kbp.reports.class_tables import class_tables
from kbp.reports.result_table import ResultTable
from kbp.tasks.class_loss import ClassLossConfig, recipe_loss
from kbp.tasks.predict_classes import ClassPrediction, probabilities
from kbp.tasks.prediction import Prediction
from kbp.tasks.registry import register_task
from kbp.tasks.scoring import mean_recall
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_PREDICTIONS = "Predictions of the int8 file, the wrong ones first"
_OBSERVED = 500  # training examples, which bounds the time


@dataclass(frozen=True)
class ClassificationConfig:
    """Keys of `[task]`: whether a model reads images or sequences of rows."""

    layout: str = choice("image", ("image", "rows"))


@dataclass(frozen=True)
class ImageAugmentationConfig:
    """Section `[augmentation]` of images, see `kbp.data.affine`."""

    rotation: float = number(0.0, 0, 180)
    shift: float = number(0.0, 0, 0.5)
    zoom: float = number(0.0, 0, 0.5)
    flip: bool = False


@register_task("classification")
class Classification(Task):
    """One label for each image; the score is the share of right ones."""

    metric = "accuracy"
    metric_format = "{:.2%}"
    sections: ClassVar[dict[str, type]] = {
        "task": ClassificationConfig,
        "loss": ClassLossConfig,
        "augmentation": ImageAugmentationConfig,
    }
    takes = "images in [0, 1]"
    gives = "logits"
    votes = True
    captions: ClassVar[Mapping[str, str]] = {
        figures.CONFUSION: figures.HOW_TO_READ_CONFUSION,
        _PREDICTIONS: "Above each example stands the class that the file names "
        "and how sure it is; red ones are wrong.",
    }
    prediction: ClassVar[type[Prediction]] = ClassPrediction
    draw = staticmethod(figures.draw_image)
    training_accuracy: float | None = None

    def __init__(self, recipe: "Recipe", splits: data.Splits):
        super().__init__(recipe, splits)
        if splits.train.labels.ndim != 1 or not splits.class_names:
            raise self.unfit(recipe, "no class for each example")
        self.check_shape()

    def check_shape(self) -> None:
        """Refuse examples that are no images, and say what models read."""
        if len(self.shape) != 3:
            raise self.unfit(self.recipe, "no images")
        if self.section(ClassificationConfig).layout == "rows":
            height, width, channels = self.shape
            self.shape = (height, width * channels)

    def make_loss(self) -> keras.losses.Loss:
        return recipe_loss(self)

    def build(self) -> keras.Model:
        classes = len(self.splits.class_names)
        return self.recipe.model.build(self.shape, classes)

    def metrics(self) -> list[Any]:
        return ["accuracy"]

    def augment(self) -> Augment | None:
        return data.affine(**asdict(self.section(ImageAugmentationConfig)))

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        labels = getattr(self.splits, split).labels
        return float(np.mean(np.argmax(outputs, axis=-1) == labels))

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        labels, predicted = self.splits.test.labels, np.argmax(outputs, axis=-1)
        share = mean_recall(predicted, labels)
        return {"mean accuracy of the classes": f"{share:.2%}"}

    def tables(self, outputs: np.ndarray) -> dict[str, ResultTable]:
        model = self.recipe.model
        size = model.argument("size", "")
        return class_tables(
            np.argmax(outputs, axis=-1),
            self.splits.test.labels,
            self.splits.class_names,
            "test examples",
            training=self.training_accuracy,
            sizes=model.known("width"),
            setting="size=small" if size == "plain" else "",
        )

    def observe_training(
        self, predict: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        train, count = self.splits.train, len(self.splits.train)
        rng = np.random.default_rng(self.recipe.training.seed)
        chosen = rng.choice(count, min(count, _OBSERVED), replace=False)
        some = train.take(np.sort(chosen))
        outputs = by_parts(predict, self.inputs_of(some))
        right = np.argmax(outputs, axis=-1) == some.labels
        self.training_accuracy = float(right.mean())

    def metadata(self) -> Metadata:
        return replace(
            super().metadata(),
            inputs=(self.input_info(),),
            outputs=(logits(self.splits.class_names),),
        )

    def input_info(self) -> TensorInfo:
        """Return what there is to say of the model's input."""
        return pixels(self.shape)

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        test, names = self.splits.test, self.splits.class_names
        return {
            figures.CONFUSION: figures.confusion_matrix(
                np.argmax(outputs, axis=-1), test.labels, names
            ),
            _PREDICTIONS: figures.sample_predictions(
                test,
                probabilities(outputs, self.recipe),
                names,
                draw=self.draw,
            ),
        }

    def lay_out(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return tf.reshape(inputs, (-1, *self.shape)), labels
