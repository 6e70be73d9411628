"""What models predict for files of a person's own."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from rich.console import Console

from kbp.errors import UserError
from kbp.export import Metadata
from kbp.inference.ensembles import predict_members
from kbp.inference.loading import open_model
from kbp.inference.texts import Text, Texts
from kbp.tasks.registry import TASKS

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe
    from kbp.tasks.task import Task


@dataclass(frozen=True)
class OpenModel:
    """A model file that is ready to predict.

    Attributes:
        path: of the file.
        predict: `predict(inputs) -> outputs` of float batches.
        inputs: shape of one example.
        outputs: shape of what the model gives for it.
    """

    path: Path
    predict: Callable[[np.ndarray], np.ndarray]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> "OpenModel":
        """Open a `.keras` or `.tflite` file.

        Raises:
            UserError: it is no model of one input and one output.
        """
        return cls(path, *open_model(path))

    @cached_property
    def texts(self) -> Texts:
        """The texts that say what the model's numbers mean."""
        return Texts(self.path)

    @cached_property
    def metadata(self) -> Metadata | None:
        """What a .tflite file says of itself, if kbp described it.

        Raises:
            UserError: its description is damaged.
        """
        try:
            return Metadata.read(self.path)
        except ValueError as error:
            raise UserError(str(error)) from error

    def text(self, name: str) -> Text | None:
        """Return a text that says what its numbers mean, if there is one.

        Args:
            name: that a run gives it, such as `"labels.txt"`. What lies beside
                the file comes before what it holds.

        Raises:
            UserError: the text cannot be read.
        """
        return self.texts.find(name)

    def members(
        self, recipe: "Recipe | None"
    ) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return what predicts with each member, if this is an ensemble.

        Args:
            recipe: what the model was trained with, if that is known.

        Returns:
            `predict(inputs) -> outputs`, `(members, batch, ...)`, of the Keras
            model beside the file.
        """
        section = recipe and recipe.ensemble
        if not section or not section.members or section.distill:
            return None
        return predict_members(self.path)


class Prediction:
    """What the command `predict` does with models of a task: here, nothing.

    A task whose models predict files has a subclass as its `prediction`.

    Attributes:
        kind: what comes out, a word that deployments name templates by.
        needs: what models must do, in words.
    """

    kind: ClassVar[str] = ""

    needs: ClassVar[str] = (
        "must be of a task that predicts files; "
        "kbp.export.Runner(path).predict takes arrays"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        """Say whether a model of such shapes can be one of the task's.

        Args:
            inputs: shape of one example.
            outputs: shape of what the model gives for it.
        """
        return False

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes after the model: files and options."""
        parser.add_argument("files", metavar="FILE", nargs="*")

    @classmethod
    def run(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        """Write predictions for the files, if the model fits.

        Args:
            model: the model to ask.
            recipe: what it was trained with, if that is known.
            options: see `add_arguments`; `out` is the folder for the results.
            console: where to say what was written.

        Raises:
            UserError: the model or a file does not fit; nothing was written.
        """
        if not cls.fits(model.inputs, model.outputs):
            raise UserError(
                f"{model.path}: {cls.needs}; takes {model.inputs} and gives "
                f"{model.outputs}"
            )
        cls.write(model, recipe, options, console)

    @classmethod
    def write(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        """Write predictions of a model that fits, see `run`."""
        raise NotImplementedError(cls)


def task_of(model: OpenModel, recipe: "Recipe | None") -> "type[Task]":
    """Return the task of a model: its recipe's, else one that its shapes fit.

    Args:
        model: an opened file.
        recipe: what it was trained with, if that is known.

    Raises:
        UserError: no task has models of such shapes.
    """
    if recipe is not None:
        return TASKS[recipe.task.name]
    for name in TASKS:
        if TASKS[name].prediction.fits(model.inputs, model.outputs):
            return TASKS[name]
    kinds = {TASKS[name].prediction for name in TASKS} - {Prediction}
    raise UserError(
        f"{model.path}: {', or '.join(sorted(k.needs for k in kinds))}; takes "
        f"{model.inputs} and gives {model.outputs}"
    )
