"""The next values of a series."""

import dataclasses

import keras
import numpy as np

from kbp import data, models
from kbp.errors import UserError
from kbp.training.forecast_plots import sample_forecasts
from kbp.training.sections import LossRecipe
from kbp.training.task import Task, check_unused

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

    def build(self):
        horizon = self.recipe.data.horizon
        return self.recipe.model.build(self.shape, horizon, head="forecasting")

    def start(self, model):
        section = dataclasses.asdict(self.recipe.highway)
        arguments = self.recipe.model.arguments
        if section["penalty"] and arguments.get("highway", True):
            train = self.splits.train
            try:
                models.start_at_ridge(
                    model, train.inputs, train.labels, **section
                )
            except ValueError as error:
                raise UserError(f"[highway] {error}") from error
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
        labels = getattr(self.splits, split).labels
        parts = [slice(i, i + 256) for i in range(0, len(labels), 256)]
        return float(
            sum(
                np.square(outputs[part] - labels[part], dtype="float64").sum()
                for part in parts  # bounds the memory
            )
            / labels.size
        )

    def figures(self, outputs):
        return {
            "Forecasts of the int8 file": sample_forecasts(self.splits, outputs)
        }
