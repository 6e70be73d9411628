"""The next values of a series."""

import dataclasses

import keras
import numpy as np

from kbp import data, models
from kbp.data.series import SeriesSplits
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.recipes.sections import LossRecipe
from kbp.reports.forecast_figures import sample_forecasts
from kbp.tasks.task import Task, check_unused

_LOSSES = {
    "huber": keras.losses.Huber,
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
}


class Forecasting(Task):
    """The next values of each window; the score is the mean squared error.

    It counts standardized values, of every window, step and channel.
    """

    metric = "MSE"

    def make_loss(self, section):
        keys = [key for key in vars(LossRecipe()) if key != "error"]
        check_unused("loss", section, "it is for classes", *keys)
        return _LOSSES[section.error]()

    def __init__(self, recipe: Recipe, splits: SeriesSplits):
        super().__init__(recipe, splits)
        section, arguments = recipe.linear_skip, recipe.model.arguments
        if recipe.model.architecture != "bp_transformer":
            raise UserError(
                "model.architecture must be 'bp_transformer' to forecast; "
                f"received {recipe.model.architecture!r}"
            )
        if not arguments.get("normalize", True):
            raise UserError(
                "model.normalize must be true: a file that knows standardized "
                "values alone forecasts in no units of the data's"
            )
        self.has_linear_skip = arguments.get("linear_skip", True)
        if not self.has_linear_skip:
            check_unused(
                "linear_skip",
                section,
                "model.linear_skip is false",
                *vars(section),
            )
        if not all(1 <= n <= recipe.data.lookback for n in section.lookbacks):
            raise UserError(
                "linear_skip.lookbacks must be rows, up to the look-back of "
                f"{recipe.data.lookback}; received {list(section.lookbacks)}"
            )

    def build(self):
        horizon = self.recipe.data.horizon
        return self.recipe.model.build(self.shape, horizon, head="forecasting")

    def start(self, model):
        section, train = self.recipe.linear_skip, self.splits.train
        if self.has_linear_skip and section.penalty:
            options = dataclasses.asdict(section)
            models.start_at_ridge(model, train.inputs, train.labels, **options)
        return model

    def metrics(self):
        return ["mse"]

    def calibration_batches(self):
        # Of all times, not the first ones.
        return data.training_batches(
            self.splits.train, self.batch_size, seed=self.recipe.training.seed
        )

    def describe(self):
        filled = self.splits.filled
        note = f", {filled} missing values filled in" if filled else ""
        return super().describe() + note

    def score(self, outputs, split="test"):
        return self.mean_of(np.square, outputs, split)

    def details(self, outputs):
        return {"MAE": f"{self.mean_of(np.abs, outputs, 'test'):.4f}"}

    def mean_of(self, measure, outputs, split) -> float:
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

    def figures(self, outputs):
        return {
            "Forecasts of the int8 file": sample_forecasts(self.splits, outputs)
        }
