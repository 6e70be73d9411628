"""Forecasts of a table's series by a model, in the series' own units."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kbp._utils.run_files import CATEGORIES, SERIES
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_reader import Series
from kbp.data.formats.series_table import Table
from kbp.errors import UserError
from kbp.models.registry import forecasts_by_channel
from kbp.tasks.forecasts.trained_on import TrainedOn, matched
from kbp.tasks.prediction import OpenModel

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of one series, in its units.

    Attributes:
        past: what the model saw of the columns, `(windows, lookback, columns)`.
        values: what follows, `(windows, horizon, columns)`.
        scale: deviation of each window's columns, 1 of a constant one,
            `(windows, 1, columns)`.
    """

    past: np.ndarray
    values: np.ndarray
    scale: np.ndarray

    @property
    def last(self) -> "Forecasts":
        """The forecast of the last window alone."""
        return Forecasts(self.past[-1:], self.values[-1:], self.scale[-1:])


class SeriesModel:
    """A model file as one that forecasts series.

    Without covariates it takes `(lookback, targets)`, with them
    `(lookback + horizon, targets + covariates)`.

    Args:
        model: the file.
        recipe: what it was trained with, if that is known.

    Attributes:
        lookback: rows that it sees.
        horizon: rows that it forecasts.
        targets: columns that it forecasts at once.
        covariates: columns that it sees besides.
        by_channel: whether it forecasts any number of columns, some at a time:
            the recipe's architecture is registered as one that does.
        trained_on: what goes with the file about its training, if it does.

    Raises:
        UserError: what goes with the file is something else.
    """

    def __init__(self, model: OpenModel, recipe: "Recipe | None"):
        self.model = model
        rows, columns = model.inputs
        self.horizon, self.targets = model.outputs
        self.covariates = columns - self.targets
        self.lookback = rows - self.horizon if self.covariates else rows
        text = model.text(SERIES)
        self.trained_on = text.parsed(TrainedOn.from_json) if text else None
        self.by_channel = (
            forecasts_by_channel(recipe.model.architecture)
            if recipe
            else self.trained_on is not None and self.trained_on.by_channel
        )
        self.recipe = recipe

    def matched(self, form: SeriesFormat) -> SeriesFormat:
        """Return a format whose columns are in the order of the model's.

        Of a file of which nothing is known, columns are taken in the order in
        which they are named.

        Raises:
            UserError: they are not the columns that the model was trained on.
        """
        known: TrainedOn | SeriesFormat | None = self.trained_on
        if known is None and self.recipe:
            known = getattr(self.recipe.data.config, "format", None)
        return matched(form, known, self.by_channel) if known else form

    def categories(self, form: SeriesFormat) -> dict[str, list[str]]:
        """Return the categories that the model has learned.

        Raises:
            UserError: the file that holds them is missing or wrong.
        """
        if not form.static:
            return {}
        text = self.model.text(CATEGORIES)
        place = text.place if text else self.model.path.parent / CATEGORIES
        try:
            if text is None:
                raise ValueError("there is no such file")
            found = json.loads(text.content)
            for name in form.static:
                known = found[name]
                if known != sorted({*map(str, known)}):
                    raise ValueError(f"{name} is {known!r}")
            return {name: list(found[name]) for name in form.static}
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{place}: must hold the categories of "
                f"{', '.join(form.static)} that the model has learned, and lie "
                f"beside it as its run left it: {error}"
            ) from error

    def check(self, source: Path, table: Table) -> None:
        """Raise a UserError if a table is not what the model forecasts."""
        name = self.model.path.name
        if len(table.names) != self.targets and not self.by_channel:
            raise UserError(
                f"{source}: has {len(table.names)} columns of values, "
                f"{', '.join(table.names)}; {name} takes {self.targets}. "
                "Choose them with --target."
            )
        if len(table.covariates) != self.covariates:
            held = ", ".join(table.covariates) or "none"
            raise UserError(
                f"{source}: {name} takes {self.covariates} covariates, and is "
                f"given {len(table.covariates)}: {held}. They are chosen with "
                "--past-covariates, --future-covariates, --calendar and "
                "--static."
            )
        for series in table.series:
            rows = len(series.values)
            whose = f"series {series.name!r}: " if series.name else ""
            if rows < max(2, self.lookback):
                raise UserError(
                    f"{source}: {whose}has {rows} rows; {name} looks back on "
                    f"{self.lookback}, and needs two to go on from."
                )

    def forecast(
        self, table: Table, series: Series, ends: np.ndarray
    ) -> Forecasts:
        """Forecast what follows some rows of a series.

        Args:
            table: what the model fits, see `check`.
            series: one of the table's.
            ends: the rows before which windows end, at least the look-back; the
                number of rows for what follows the last one.

        Raises:
            UserError: the file says too little about later rows, or a forecast
                is not finite.
        """
        ends = np.asarray(ends)[:, None]
        past = series.values[ends + np.arange(-self.lookback, 0)]
        # Models of kbp take any units, but float32 has no room for a small
        # variation at a high level.
        mean = past.mean(axis=1, keepdims=True)
        varies = np.ptp(past, axis=1, keepdims=True) > 0
        scale = np.where(varies, past.std(axis=1, keepdims=True), 1.0)
        relative = (past - mean) / scale
        known = self.known(table, series, ends)
        count = len(table.names)
        # Some columns at a time; the last group has some of the first again.
        groups = np.arange(-(-count // self.targets) * self.targets) % count
        outputs = [
            self.predict(relative[..., group], known)
            for group in groups.reshape(-1, self.targets)
        ]
        values = np.concatenate(outputs, axis=-1)[..., :count] * scale + mean
        if not np.isfinite(values).all():
            raise UserError(
                f"{self.model.path}: what it forecasts is not finite."
            )
        return Forecasts(past, values, scale)

    def known(
        self, table: Table, series: Series, ends: np.ndarray
    ) -> np.ndarray | None:
        """Return the covariates of windows, `None` if there are none."""
        if not self.covariates:
            return None
        ahead = int(ends.max()) + self.horizon - len(series.values)
        rows = ends + np.arange(-self.lookback, self.horizon)
        known = table.known(series, max(0, ahead))[rows]
        known[:, self.lookback :, : len(table.format.past_covariates)] = 0
        return known

    def predict(
        self, relative: np.ndarray, known: np.ndarray | None
    ) -> np.ndarray:
        """Return forecasts, as relative to the window as what is given."""
        inputs = relative
        if known is not None:
            ahead = ((0, 0), (0, self.horizon), (0, 0))
            inputs = np.concatenate([np.pad(relative, ahead), known], axis=-1)
        return self.model.predict(inputs.astype("float32")).astype("float64")
