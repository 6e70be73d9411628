"""What a model learns from a data set, and how it is judged."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp._utils.run_files import IMAGES, LABELS
from kbp.data.checks.leaks import warnings_of
from kbp.data.images.kinds import ImageKinds
from kbp.data.lazy import Lazy
from kbp.data.shares import WHOLE, Shares
from kbp.data.splits import Augment, Tensor, as_floats
from kbp.errors import UserError
from kbp.export import Metadata
from kbp.reports.result_table import ResultTable
from kbp.tasks.prediction import Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

Section = TypeVar("Section")


class Task(ABC):
    """A data set in the layout that a recipe's model reads, and what for.

    A subclass is registered by `kbp.tasks.register_task`.

    Args:
        recipe: its sections `data`, `model`, `task` and `training` count here.
        splits: the examples.

    Attributes:
        name: of the task, as it was registered.
        metric: name of the score. What `metrics` returns must hold a metric
            that is named so in lower case, of which the report has a curve.
        metric_format: how a score is written, for `str.format`.
        sections: dataclasses of the sections that a recipe may have for this
            task besides the common ones, by name. Those keys of `[task]` that
            are not `name` are the dataclass "task".
        splits_kind: class of the splits that the task is for.
        takes: what models take, in words, for model cards.
        gives: what they give.
        prediction: what the command `predict` does with models of the task.
        votes: whether outputs are scores of classes, which can be counted.
        compared_with: what is fitted after training to compare the model with,
            in words; `""` if nothing that takes time.
        captions: of `figures`, by their headings: how to read each, in a
            sentence.
        shape: of one example as the model reads it.
        steps: training steps of an epoch.
        loss: of the model's outputs.
        drawn: examples to train on in place of the training split.

    Raises:
        UserError: the data are not of the kind that the task is for, a batch is
            larger than the training split, or a section of the task does not
            fit.
    """

    name: ClassVar[str] = ""
    metric: str
    metric_format: ClassVar[str] = "{:.4f}"
    sections: ClassVar[Mapping[str, type]] = {}
    splits_kind: ClassVar[type[Any]] = data.Splits
    takes: ClassVar[str] = "examples"
    gives: ClassVar[str] = "predictions"
    prediction: ClassVar[type[Prediction]] = Prediction
    votes: ClassVar[bool] = False
    compared_with: ClassVar[str] = ""
    captions: ClassVar[Mapping[str, str]] = {}
    drawn: "data.Selected | None" = None
    splits: Any  # what it holds depends on `splits_kind`

    def __init__(self, recipe: "Recipe", splits: Any):
        if not isinstance(splits, self.splits_kind):
            raise self.unfit(recipe, f"{type(splits).__name__}")
        self.recipe, self.splits = recipe, splits
        self.shape: tuple[int, ...] = splits.input_shape
        self.batch_size = recipe.training.batch_size
        self.steps = self.count_steps()
        if not self.steps:
            raise UserError(
                "training.batch_size must be at most the "
                f"{len(splits.train)} training examples; received "
                f"{self.batch_size}"
            )
        self.loss = self.make_loss()

    @classmethod
    def unfit(cls, recipe: "Recipe", held: str) -> UserError:
        """Return the error that the recipe's data are not for this task.

        Args:
            recipe: whose data they are.
            held: what they are, in words.
        """
        return UserError(
            f"task.name: {cls.name!r} does not fit data.name "
            f"{recipe.data.name!r}, which gives {held}"
        )

    def section(self, kind: type[Section]) -> Section:
        """Return one of the recipe's sections for this task, by its class."""
        return self.recipe.task.section(kind)

    @abstractmethod
    def make_loss(self) -> keras.losses.Loss:
        """Return the loss of the model's outputs."""

    @abstractmethod
    def build(self) -> keras.Model:
        """Build the recipe's model, with a head for this task."""

    def count_steps(self) -> int:
        """Return how many batches an epoch has."""
        return data.steps_per_epoch(self.splits.train, self.batch_size)

    def compile_options(self) -> dict[str, Any]:
        """Return what models are compiled with, besides an optimizer."""
        return {"loss": self.loss, "metrics": self.metrics()}

    def restored(self, model: keras.Model) -> keras.Model:
        """Return a model of a checkpoint in the class that the task trains."""
        return model

    def given(self) -> keras.Model | None:
        """Return the model as a person gave it, to be compared with."""
        return None

    def start(self, model: keras.Model) -> keras.Model:
        """Give a new model the weights that are known before training."""
        return model

    @abstractmethod
    def metrics(self) -> list[Any]:
        """Return what `fit` is to follow."""

    def augment(self) -> Augment | None:
        """Return what changes training batches, see `training_batches`."""
        return None

    def compact(self, outputs: Any) -> Any:
        """Return what of outputs the methods below need, in less memory."""
        return outputs

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

    def tables(self, outputs: np.ndarray) -> dict[str, ResultTable]:
        """Return tables for the report, such as of baselines, by heading.

        They are shown by `evaluate` and at the end of a run, too.

        Args:
            outputs: of the int8 file, for the test examples.
        """
        return {}

    def check_beside(self, name: str, text: str) -> None:
        """Raise a UserError if a model was made from other data than these.

        Args:
            name: of a file beside it, one of `files`.
            text: what the file holds.
        """
        if name == IMAGES:
            ImageKinds.from_json(text).check_same(self.splits.images)
        elif text != self.files()[name]:
            raise UserError(
                "is of other classes, columns or categories than the data "
                "have now, which a score would mix up"
            )

    def files(self) -> dict[str, str]:
        """Return what users of the models need beside them.

        Returns:
            Names of files, which are written into the run's folder, and their
            contents.
        """
        found, kinds = {}, getattr(self.splits, "images", None)
        if kinds:
            found[IMAGES] = kinds.to_json()
        if names := getattr(self.splits, "class_names", ()):
            # One name for each output, as tools of LiteRT read them.
            found[LABELS] = "\n".join([*names, ""])
        return found

    def metadata(self) -> Metadata:
        """Return what .tflite files of the task's models say of themselves.

        A task that knows what the numbers mean adds inputs and outputs.
        """
        section = self.recipe.export
        model, data_set = self.recipe.model.architecture, self.recipe.data.name
        return Metadata(
            f"{model}.{data_set}",
            description=f"{model}, trained on the data set {data_set}, turns "
            f"{self.takes} into {self.gives}.",
            task=self.name,
            license=section.license,
            author=section.author,
            version=section.version,
            origin={"recipe": self.recipe.to_toml()},
            files=self.files(),
        )

    def calibrate(
        self, predict: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, str]:
        """Learn from a model's validation outputs how far it is to be trusted.

        Args:
            predict: `predict(inputs) -> outputs` of the model that is used.

        Returns:
            Texts of files to keep beside it, by name.
        """
        return {}

    def observe_training(
        self, predict: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Note how a model does on training examples, for `tables` to say.

        Args:
            predict: `predict(inputs) -> outputs` of the model.
        """
        return

    @abstractmethod
    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        """Return headings and SVG texts for the report.

        The last one, if there is any, shows test examples.

        Args:
            outputs: of the int8 file, for the test examples.
        """

    def late_warnings(self) -> list[str]:
        """Return sentences about what the data did while they were used."""
        return []

    def warnings(self) -> list[str]:
        """Return sentences about what is wrong with the splits.

        Raises:
            UserError: nothing could be learned about a class.
        """
        return warnings_of(self.splits)

    def training_batches(
        self, *, seed: int, start_step: int = 0, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        """Return the endless, augmented batches from a step on.

        Args:
            seed: of the batches.
            start_step: first batch to give.
            shares: of each batch; nothing else of it is read.
        """
        batches = data.training_batches(
            self.drawn or self.splits.train,
            self.batch_size,
            seed=seed,
            start_step=start_step,
            augment=self.augment(),
            shares=shares,
        )
        return batches.map(self.lay_out)

    def batches(
        self,
        split: str,
        batch_size: int | None = None,
        shares: Shares = WHOLE,
    ) -> tf.data.Dataset:
        """Return the batches of a split, or shares, in order and unchanged."""
        batches = data.evaluation_batches(
            getattr(self.splits, split), batch_size or self.batch_size, shares
        )
        return batches.map(self.lay_out)

    def calibration_batches(self) -> tf.data.Dataset:
        """Return training batches that show what ranges there are.

        They are unchanged, and in no order: not of the first class alone, nor
        of the first month.
        """
        seed = self.recipe.training.seed
        batches = data.sample_batches(self.splits.train, self.batch_size, seed)
        return batches.map(self.lay_out)

    def describe(self) -> str:
        """Say how many examples there are, and in more lines what they hold."""
        splits = self.splits
        said = (
            f"{len(splits.train)} training, {len(splits.validation)} "
            f"validation, {len(splits.test)} test examples"
        )
        kept = getattr(splits, "kept", "")
        return f"{said}\n{kept}" if kept else said

    def inputs(self, split: str) -> Any:
        """Return a split's inputs, as one array, which may be `Lazy`."""
        return self.inputs_of(getattr(self.splits, split))

    def inputs_of(self, examples: data.Examples) -> Any:
        """Return the inputs of examples in the layout that the model reads."""
        inputs, shape = as_floats(examples.inputs), self.shape
        if isinstance(inputs, Lazy):
            return inputs.map(
                lambda x: x.reshape(-1, *shape), shape, inputs.dtype
            )
        return inputs.reshape(-1, *shape)

    def lay_out(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch in the layout that the model reads."""
        return inputs, labels
