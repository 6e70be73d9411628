"""What a recipe may add to the training of a stage, one file for each."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import keras
import tensorflow as tf

from kbp._utils.registry import Registry
from kbp.sparsity import DTMSchedule

if TYPE_CHECKING:
    from kbp.tasks import Task

# The loss and metrics of a batch or an epoch, by name.
Logs = dict[str, float] | None
Kind = TypeVar("Kind", bound="type[Technique]")

TECHNIQUES: "Registry[type[Technique]]" = Registry(
    "training", "kbp.training.techniques"
)


@dataclass(frozen=True)
class Stage:
    """A stage of a run, as techniques see it.

    Attributes:
        name: of the stage.
        task: with its recipe and data.
        best: path of a file for the best weights.
        precision: name of the dtype policy that it trains in.
        epochs: of the stage.
        seed: of its batches.
        schedule: of its masks, if it has any.
        validation: validation batches, if there are any.
        teacher: whose outputs models may learn from, if there is one.
        folder: of the run.
    """

    name: str
    task: "Task"
    best: Path
    precision: str
    epochs: int
    seed: int
    schedule: DTMSchedule | None
    validation: tf.data.Dataset | None
    teacher: keras.Model | None = None
    folder: Path = Path()


class Technique(keras.callbacks.Callback, ABC):
    """Takes part in the training of a stage, if the recipe asks for it.

    It is a Keras callback that stays the same when the training goes on within
    an epoch, and may do more at other times.

    Args:
        stage: the stage.

    Attributes:
        stopped: whether the stage has ended before its last epoch.
        by_rounds: whether it also is for rounds of clients, of whom it sees
            the ends of epochs alone.
    """

    stopped = False
    by_rounds: ClassVar[bool] = False
    name: ClassVar[str]

    def __init__(self, stage: Stage):
        super().__init__()
        self.stage, self.recipe = stage, stage.task.recipe

    @staticmethod
    @abstractmethod
    def is_asked(recipe: Any) -> bool:
        """Tell whether a recipe asks for this."""

    @classmethod
    def check(cls, task: "Task", model: keras.Model) -> None:
        """Raise a UserError if it cannot be done, before the first step.

        Args:
            task: with the recipe and the data.
            model: as the training begins with it.
        """

    def optimizer(self, optimizer: Any) -> Any:
        """Return what the stage's optimizer becomes."""
        return optimizer

    def learning(self, model: keras.Model) -> AbstractContextManager[Any]:
        """Return a context around the training of a compiled model."""
        return contextlib.nullcontext()

    def end(self, model: keras.Model) -> None:
        """Give a model that has trained to the end its last weights."""

    def refine(self, model: keras.Model) -> None:
        """Change the same model once more, in float32 and on one device."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed training must know, as JSON has it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


def register_technique(name: str) -> Callable[[Kind], Kind]:
    """Register a subclass of `Technique` under a name.

    Args:
        name: of the technique, under which its state is in checkpoints.

    Returns:
        A decorator.

    Raises:
        UserError: another technique has that name.

    Example:
    >>> from kbp.training.techniques.technique import TECHNIQUES
    >>> from kbp.recipes import Recipe
    >>> TECHNIQUES["keep_best"].is_asked(Recipe())
    False
    """

    def register(kind: Kind) -> Kind:
        TECHNIQUES.add(name, kind)
        kind.name = name
        return kind

    return register


def asked(recipe: Any) -> list[type[Technique]]:
    """Return the techniques that a recipe asks for."""
    kinds = (TECHNIQUES[name] for name in TECHNIQUES)
    return [kind for kind in kinds if kind.is_asked(recipe)]
