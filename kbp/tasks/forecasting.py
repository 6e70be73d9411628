"""The next values of a series."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from kbp import data, models
from kbp._utils.config import check_unused, choice, number
from kbp.errors import UserError
from kbp.reports.forecast_figures import sample_forecasts
from kbp.tasks.predict_series import SeriesPrediction
from kbp.tasks.registry import register_task
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_LOSSES = {
    "huber": keras.losses.Huber,
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
}


@dataclass(frozen=True)
class ForecastLossConfig:
    """Section `[loss]` of forecasts."""

    error: str = choice("huber", tuple(_LOSSES))


@dataclass(frozen=True)
class LinearSkipConfig:
    """Section `[linear_skip]`: where a forecast's linear skip starts.

    With a penalty of 0 it starts anywhere; else see
    `kbp.models.start_at_ridge`.
    """

    lookbacks: tuple[int, ...] = ()
    penalty: float = number(1.0, 0)
    memory: float = number(96.0, above=0)
    trainable: bool = False


@register_task("forecasting")
class Forecasting(Task):
    """The next values of each window; the score is the mean squared error.

    It counts standardized values, of every window, step and channel.
    """

    metric = "MSE"
    sections: ClassVar[dict[str, type]] = {
        "loss": ForecastLossConfig,
        "linear_skip": LinearSkipConfig,
    }
    splits_kind = data.SeriesSplits
    takes = "rows of values in any units"
    gives = "the rows after them"
    prediction = SeriesPrediction

    def __init__(self, recipe: "Recipe", splits: data.SeriesSplits):
        super().__init__(recipe, splits)
        # An architecture that has no such arguments has no linear skip, and is
        # trusted to take any units.
        if recipe.model.argument("normalize", True) is False:
            raise UserError(
                "model.normalize must be true: a file that knows standardized "
                "values alone forecasts in no units of the data's"
            )
        section = self.section(LinearSkipConfig)
        self.has_linear_skip = recipe.model.argument("linear_skip", False)
        if not self.has_linear_skip:
            check_unused(
                "linear_skip",
                section,
                "model.linear_skip is false",
                *vars(section),
            )
        lookback = splits.train.lookback
        if not all(1 <= n <= lookback for n in section.lookbacks):
            raise UserError(
                "linear_skip.lookbacks must be rows, up to the look-back of "
                f"{lookback}; received {list(section.lookbacks)}"
            )

    def make_loss(self) -> keras.losses.Loss:
        return _LOSSES[self.section(ForecastLossConfig).error]()

    def build(self) -> keras.Model:
        horizon = self.splits.train.horizon
        return self.recipe.model.build(self.shape, horizon, head="forecasting")

    def start(self, model: keras.Model) -> keras.Model:
        section, train = self.section(LinearSkipConfig), self.splits.train
        if self.has_linear_skip and section.penalty:
            options = dataclasses.asdict(section)
            models.start_at_ridge(model, train.inputs, train.labels, **options)
        return model

    def metrics(self) -> list[Any]:
        return ["mse"]

    def warnings(self) -> list[str]:
        return []  # windows share rows, and the splits are apart in time

    def calibration_batches(self) -> tf.data.Dataset:
        # Of all times, not the first ones.
        return data.training_batches(
            self.splits.train, self.batch_size, seed=self.recipe.training.seed
        )

    def describe(self) -> str:
        filled = self.splits.filled
        note = f", {filled} missing values filled in" if filled else ""
        return super().describe() + note

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        return self.mean_of(np.square, outputs, split)

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        return {"MAE": f"{self.mean_of(np.abs, outputs, 'test'):.4f}"}

    def mean_of(
        self, measure: Callable[..., Any], outputs: np.ndarray, split: str
    ) -> float:
        """Return the mean of `measure(output - label)` in float64."""
        labels = getattr(self.splits, split).labels
        parts = [slice(i, i + 256) for i in range(0, len(labels), 256)]
        return float(
            sum(
                measure(outputs[part] - labels[part], dtype="float64").sum()
                for part in parts  # bounds the memory
            )
            / labels.size
        )

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        return {
            "Forecasts of the int8 file": sample_forecasts(self.splits, outputs)
        }
