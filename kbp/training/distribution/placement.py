"""Models on the devices and in the precision that a stage trains in."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kbp._utils.files import write_atomically
from kbp.recipes import Recipe
from kbp.training import checkpoint
from kbp.training.checkpoint import State
from kbp.training.distribution import keras_workarounds
from kbp.training.distribution.strategies import (
    from_chief,
    has_workers,
    is_chief,
)


class Placement:
    """Brings models where a stage trains, and back.

    Args:
        recipe: of the run.
        strategy: of tf.distribute.
    """

    def __init__(self, recipe: Recipe, strategy: tf.distribute.Strategy):
        self.recipe, self.strategy = recipe, strategy

    def precision(self, stage: str) -> str:
        """Return a stage's dtype policy; fake quantization needs float32."""
        train = stage.startswith("train")  # "train.1", ... of several
        return self.recipe.training.precision if train else "float32"

    def is_passthrough(self, stage: str) -> bool:
        """Tell whether a stage trains a model as it was made."""
        here = self.strategy is tf.distribute.get_strategy()
        return here and self.precision(stage) == "float32"

    def enter(
        self,
        stage: str,
        found: Callable[[], tuple[keras.Model, State]],
    ) -> tuple[keras.Model, State]:
        """Return a model under the strategy and in the precision of a stage.

        Args:
            stage: name of the stage.
            found: `found() -> (model, state)`, called by the chief alone.

        Returns:
            The model and the state.
        """
        if self.is_passthrough(stage):
            return found()
        chief = is_chief(self.recipe.training.strategy)
        content = from_chief(
            self.strategy, checkpoint.to_bytes(*found()) if chief else b""
        )
        with self.strategy.scope():
            return checkpoint.from_bytes(content, self.precision(stage))

    def share(self, file: Path) -> None:
        """Copy a file of the chief, if there is one, to every worker."""
        if has_workers(self.strategy):
            content = file.read_bytes() if file.is_file() else b""
            content = from_chief(self.strategy, content)
            if content:
                write_atomically(file, content)

    def leave(self, stage: str, model: keras.Model) -> keras.Model:
        """Return a model without strategy and in float32."""
        if self.is_passthrough(stage):
            return model
        for norm in keras_workarounds.find(
            keras.layers.BatchNormalization, model
        ):
            norm.synchronized = False  # other backends do not support it
        content = checkpoint.to_bytes(model)
        left, _ = checkpoint.from_bytes(content, "float32")
        return left
