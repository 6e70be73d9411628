"""The next values of a series."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from kbp import data, models
from kbp._utils.config import check_unused
from kbp._utils.run_files import CATEGORIES, INTERVALS, SERIES
from kbp.data.shares import WHOLE, Shares
from kbp.errors import UserError
from kbp.export import Metadata
from kbp.reports import forecast_tables, series_errors
from kbp.reports.forecast_figures import sample_forecasts
from kbp.reports.result_table import ResultTable
from kbp.tasks.forecasts import errors as forecast_errors
from kbp.tasks.forecasts.errors import Errors, WindowErrors, errors_of
from kbp.tasks.forecasts.intervals import Intervals, calibrate, check_levels
from kbp.tasks.forecasts.sections import (
    LOSSES,
    ForecastLossConfig,
    ForecastTaskConfig,
    LinearSkipConfig,
)
from kbp.tasks.forecasts.streams import Streams, streams_of
from kbp.tasks.forecasts.trained_on import TrainedOn
from kbp.tasks.forecasts.walk import walk_series
from kbp.tasks.predict_series import SeriesPrediction
from kbp.tasks.registry import register_task
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

RIDGE = "ridge"
_FORECASTS = "Forecasts of the int8 file"


@register_task("forecasting")
class Forecasting(Task):
    """The next values of each window; the score is the mean squared error.

    It counts standardized values, of every window, step and channel.
    """

    metric = "MSE"
    sections: ClassVar[dict[str, type]] = {
        "task": ForecastTaskConfig,
        "loss": ForecastLossConfig,
        "linear_skip": LinearSkipConfig,
    }
    splits_kind = data.SeriesSplits
    takes = "rows of values in any units"
    gives = "the rows after them"
    captions: ClassVar[Mapping[str, str]] = {
        _FORECASTS: "A good, a usual and a bad window, from left to right."
    }
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

        if splits.covariates and not recipe.training.epochs:
            raise UserError(
                "training.epochs must be at least 1 with covariates, which "
                "count for nothing before training"
            )
        check_levels(self.section(ForecastTaskConfig).intervals)
        self.intervals: Intervals | None = None

    @cached_property
    def streams(self) -> Streams | None:
        """What training batches go along, if states go on between them."""
        return streams_of(self.recipe, self.splits)

    def count_steps(self) -> int:
        return self.streams.steps if self.streams else super().count_steps()

    def training_batches(
        self, *, seed: int, start_step: int = 0, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        if self.streams:
            batches = self.streams.batches(seed, start_step, shares)
            return batches.map(self.lay_out)
        return super().training_batches(
            seed=seed, start_step=start_step, shares=shares
        )

    def make_loss(self) -> keras.losses.Loss:
        return self._loss()

    def _loss(self, **options: Any) -> keras.losses.Loss:
        section = self.section(ForecastLossConfig)
        if section.name == "quantile":
            options["quantile"] = section.quantile
        else:
            reason = f"loss.name is {section.name!r}"
            check_unused("loss", section, reason, "quantile")
        return LOSSES[section.name](**options)

    def build(self) -> keras.Model:
        given: dict[str, Any] = {"head": "forecasting"}
        if self.splits.covariates:
            given["num_targets"] = len(self.splits.names)
            given["num_past_covariates"] = self.splits.covariates.past
        horizon = self.splits.train.horizon
        return self.recipe.model.build(self.shape, horizon, **given)

    def start(self, model: keras.Model) -> keras.Model:
        section = self.section(LinearSkipConfig)
        if known := self.splits.covariates:
            models.standardize_covariates(model, known.mean, known.scale)
        if not (self.has_linear_skip and section.penalty):
            return model
        name = RIDGE
        if self.recipe.training.keep_best:
            name = min(self.starts, key=self.starts.__getitem__)
        kernel = self.ridge_kernel
        if name != RIDGE:
            kernel = models.naive_kernel(
                *kernel.shape, season=self.seasons[name]
            )
        models.start_at_kernel(model, kernel, trainable=section.trainable)
        return model

    @cached_property
    def seasons(self) -> dict[str, int]:
        """Rows that naive forecasts repeat, by their names."""
        return forecast_errors.seasons_of(self.splits)

    @cached_property
    def ridge_kernel(self) -> np.ndarray:
        """The kernel of the ridge regression on the training windows."""
        section, train = self.section(LinearSkipConfig), self.splits.train
        return models.mean_ridge(
            train.past,
            train.labels,
            lookbacks=section.lookbacks,
            penalty=section.penalty or LinearSkipConfig.penalty,
            memory=section.memory,
        )

    @cached_property
    def others(self) -> dict[str, forecast_errors.Forecast]:
        """Simple forecasts `forecast(past)`, by their names."""
        horizon = self.splits.train.horizon
        return {
            RIDGE: forecast_errors.linear(self.ridge_kernel),
            **{
                name: forecast_errors.naive(horizon, season)
                for name, season in self.seasons.items()
            },
        }

    @cached_property
    def starts(self) -> dict[str, float]:
        """Validation loss of each simple forecast, in float64."""
        windows = self.splits.validation
        past, labels = windows.past, windows.labels
        loss = self._loss(dtype="float64")

        def mean(forecast: forecast_errors.Forecast) -> float:
            parts = forecast_errors.parts_of(len(labels))
            losses = [
                len(came) * float(loss(came, forecast(past[part])))
                for part in parts
                for came in [labels[part]]
            ]
            return sum(losses) / len(labels)

        return {name: mean(forecast) for name, forecast in self.others.items()}

    @cached_property
    def other_errors(self) -> dict[str, Errors]:
        """Errors of the simple forecasts on the test windows."""
        past = self.splits.test.past

        def errors(forecast: forecast_errors.Forecast) -> Errors:
            return self.errors(lambda part: forecast(past[part])).mean()

        return {
            name: errors(forecast) for name, forecast in self.others.items()
        }

    @cached_property
    def seasonal_error(self) -> np.ndarray:
        """What MASE divides by, `(series, columns)`."""
        season, _ = forecast_errors.scaling_season(self.splits)
        return forecast_errors.seasonal_error(self.splits.train, season)

    def errors(self, forecast: Callable[[slice], np.ndarray]) -> WindowErrors:
        """Return the errors of forecasts of the test windows.

        Args:
            forecast: `forecast(part)` for a slice of the windows.
        """
        splits = self.splits
        scale = splits.by_window(splits.scale, "test")
        seasonal = splits.by_window(self.seasonal_error, "test")
        return errors_of(forecast, splits.test.labels, scale, seasonal)

    def metrics(self) -> list[Any]:
        return ["mse"]

    def warnings(self) -> list[str]:
        # Windows share rows, and the splits are apart in time.
        return [*self.splits.remarks, *self.splits.warnings]

    def describe(self) -> str:
        counts = self.splits.counts.items()
        notes = (f"{count} {what}" for what, count in counts)
        first, *more = super().describe().split("\n")
        return "\n".join([", ".join([first, *notes]), *more])

    def score(self, outputs: np.ndarray, split: str = "test") -> float:
        return self.mean_of(np.square, outputs, split)

    def details(self, outputs: np.ndarray) -> dict[str, str]:
        return {"MAE": f"{self.mean_of(np.abs, outputs, 'test'):.4f}"}

    def calibrate(
        self, predict: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, str]:
        validation = self.splits.validation
        levels = self.section(ForecastTaskConfig).intervals
        self.intervals = None
        if levels and len(validation):
            inputs = validation.inputs
            parts = forecast_errors.parts_of(len(validation))
            outputs = [predict(inputs[part]) for part in parts]
            self.intervals = calibrate(
                self.splits.names,
                levels,
                validation.past,
                np.concatenate(outputs),
                validation.labels,
                scale=self.splits.scale,
                since=self.splits.tested_from,
                step=str(self.splits.step or ""),
            )
        if self.intervals is None:
            return {}
        return {INTERVALS: self.intervals.to_json()}

    def files(self) -> dict[str, str]:
        covariates = self.splits.covariates
        found = {SERIES: TrainedOn.of(self.splits, self.recipe).to_json()}
        if covariates and covariates.categories:
            found[CATEGORIES] = json.dumps(covariates.categories) + "\n"
        return found

    def metadata(self) -> Metadata:
        taken, given = TrainedOn.of(self.splits, self.recipe).tensors()
        return replace(super().metadata(), inputs=(taken,), outputs=(given,))

    def check_beside(self, name: str, text: str) -> None:
        if name == SERIES:  # levels may change with more rows
            own = TrainedOn.of(self.splits, self.recipe)
            TrainedOn.from_json(text).check(own)
        else:
            super().check_beside(name, text)

    def tables(self, outputs: np.ndarray) -> dict[str, ResultTable]:
        splits, found = self.splits, {}
        if (
            self.recipe.training.keep_best
            and self.has_linear_skip
            and self.section(LinearSkipConfig).penalty
        ):
            error = self.section(ForecastLossConfig).name
            found = forecast_tables.start_table(self.starts, error)
        _, season = forecast_errors.scaling_season(splits)
        test, errors = splits.test, self.errors(outputs.__getitem__)
        spread = series_errors.spread(splits.scale)
        found |= forecast_tables.error_tables(
            splits.names,
            errors.mean(),
            self.other_errors,
            horizon=test.horizon,
            season=season,
            spread=spread,
        )
        if test.members is not None:
            found |= series_errors.series_table(
                splits.series, splits.names, errors, test.members
            )
        if self.intervals:
            walk = partial(
                walk_series,
                self.intervals,
                test.past,
                outputs,
                test.labels,
                members=test.members,
                scale=splits.level("test")[1],
            )
            found |= forecast_tables.interval_tables(
                self.intervals, walk(rate=0.0), walk(), spread
            )
        return found

    def mean_of(
        self, measure: Callable[..., Any], outputs: np.ndarray, split: str
    ) -> float:
        """Return the mean of `measure(output - label)` in float64."""
        labels = getattr(self.splits, split).labels
        return float(
            sum(
                measure(outputs[part] - labels[part], dtype="float64").sum()
                for part in forecast_errors.parts_of(len(labels))
            )
            / np.prod(labels.shape)
        )

    def figures(self, outputs: np.ndarray) -> dict[str, str]:
        return {
            _FORECASTS: sample_forecasts(self.splits, outputs, self.intervals)
        }
