"""States that go on from batch to batch, along a series."""

from typing import Any

from kbp.layers import TruncatedRNN
from kbp.optimizers.summing import steps_of
from kbp.training.distribution import keras_workarounds
from kbp.training.techniques.technique import (
    Logs,
    Technique,
    register_technique,
)


@register_technique("streams")
class CarriedStates(Technique):
    """Begins each epoch with states of 0, as it begins the series anew."""

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return recipe.model.argument("streams", None) is not None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        # A training that goes on within an epoch has its states.
        if steps_of(self.model.optimizer) % self.stage.task.steps == 0:
            for layer in keras_workarounds.find(TruncatedRNN, self.model):
                layer.reset_state()
