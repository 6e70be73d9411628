"""What a forecasting model was trained on, which travels beside its file."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_table import Table
from kbp.data.series import SeriesSplits
from kbp.errors import UserError
from kbp.export import TensorInfo
from kbp.models.registry import forecasts_by_channel

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

# Columns that a model tells apart by their place, by keys of `SeriesFormat`.
_COVARIATES = ("past_covariates", "future_covariates", "calendar", "static")
# Deviations of the training rows: how far the middle of a column may lie from
# theirs, how many its own may be, and how many it must be where it lies apart.
_MOST_DISTANCE, _MOST_SPREAD, _LEAST_SPREAD = 8.0, 30.0, 0.01


@dataclass(frozen=True)
class TrainedOn:
    """The rows of a forecasting model, as its training data had them.

    Attributes:
        channels: names of the columns that the model takes, in order: targets,
            covariates of the past, those known ahead, calendar, categories.
        targets: columns that it forecasts.
        past_covariates: columns known of the past alone; like the next three
            in the order in which the model takes them.
        future_covariates: columns that are known ahead.
        calendar: features of local time.
        static: columns of categories.
        by_channel: whether it forecasts any number of columns.
        lookback: rows that it sees.
        horizon: rows that it forecasts.
        step: between two rows, as text; `""` if it is not known.
        zone: or offset of the times; `""` if they have none.
        mean: of the targets, and of the columns of covariates, in the training
            rows of all series, in their units.
        deviation: standard deviation of each.
    """

    channels: tuple[str, ...]
    targets: tuple[str, ...]
    past_covariates: tuple[str, ...]
    future_covariates: tuple[str, ...]
    calendar: tuple[str, ...]
    static: tuple[str, ...]
    by_channel: bool
    lookback: int
    horizon: int
    step: str
    zone: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, splits: SeriesSplits, recipe: "Recipe") -> "TrainedOn":
        """Return what is said of the data of a recipe.

        Args:
            splits: the data.
            recipe: how their file holds them, and the architecture.
        """
        form = getattr(recipe.data.config, "format", SeriesFormat())
        known = splits.covariates
        columns = len(form.past_covariates) + len(form.future_covariates)
        mean = splits.mean.mean(axis=0)
        squares = splits.scale**2 + (splits.mean - mean) ** 2
        means, deviations = [mean], [np.sqrt(squares.mean(axis=0))]
        if known:
            means.append(known.mean[:columns])
            deviations.append(known.scale[:columns])
        return cls(
            channels=(*splits.names, *(known.names if known else ())),
            targets=splits.names,
            **{key: getattr(form, key) for key in _COVARIATES},
            by_channel=forecasts_by_channel(recipe.model.architecture),
            lookback=splits.train.lookback,
            horizon=splits.train.horizon,
            step=str(splits.step or ""),
            zone=splits.zone,
            mean=tuple(np.concatenate(means).tolist()),
            deviation=tuple(np.concatenate(deviations).tolist()),
        )

    def tensors(self) -> tuple[TensorInfo, TensorInfo]:
        """Return what there is to say of the model's input and output."""
        only_targets = len(self.channels) == len(self.targets)
        named = not self.by_channel
        taken = TensorInfo(
            "sequence",
            description=f"The last {self.lookback} rows of each column, the "
            "oldest first, in any units"
            + ("." if only_targets else ", then what is known of covariates."),
            axes=("rows", "columns"),
            labels=self.channels if named else (),
        )
        given = TensorInfo(
            "forecast",
            description=f"The {self.horizon} rows after them, in the units of "
            "the input.",
            axes=("rows", "columns"),
            labels=self.targets if named else (),
        )
        return taken, given

    def to_json(self) -> str:
        """Return text that `from_json` and people read."""
        content = dataclasses.asdict(self)
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainedOn":
        """Return what `to_json` wrote.

        Raises:
            UserError: the text is something else.
        """
        try:
            content = json.loads(text)
            found: dict[str, Any] = {
                field.name: content[field.name]
                for field in dataclasses.fields(cls)
            }
            for name, value in found.items():
                if isinstance(value, list):
                    found[name] = tuple(value)
            return cls(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"does not say what series a model was trained on: {error!r}"
            ) from error

    def check(self, other: "TrainedOn") -> None:
        """Raise a UserError if other data are not of the same kind."""
        keys = [*_COVARIATES, "lookback", "horizon", "step", "zone"]
        if not self.by_channel:
            keys.append("targets")
        for key in keys:
            own, given = getattr(self, key), getattr(other, key)
            if own != given:
                raise UserError(
                    f"was trained with the {key} {_said(own)}, and the data "
                    f"have {_said(given)}"
                )

    def matched(self, form: SeriesFormat) -> SeriesFormat:
        """Return a format whose columns are in the order of the model's.

        Args:
            form: with the columns that a person named, in any order.

        Raises:
            UserError: they are others than the model's.
        """
        return matched(form, self, self.by_channel)

    def misfits(self, table: Table) -> list[str]:
        """Return sentences about what does not fit the training rows.

        Args:
            table: rows that the model is to go on from.
        """
        found = []
        if table.step and self.step not in ("", str(table.step)):
            found.append(
                f"the model was made from rows {self.step} apart, and these "
                f"are {table.step} apart. The forecast may mean nothing."
            )
        if self.zone != table.zone and self.calendar:
            found.append(
                f"the model learned the calendar of times in "
                f"{self.zone or 'no zone'}, and these are in "
                f"{table.zone or 'none'}. Say time_zone if that is wrong."
            )
        form = table.format
        values = np.concatenate(
            [
                np.concatenate(
                    [x.values, x.past, x.future[: len(x.values)]], axis=1
                )[-self.lookback :]
                for x in table.series
            ]
        )
        names = (*self.targets, *self.past_covariates, *self.future_covariates)
        levels = dict(
            zip(names, zip(self.mean, self.deviation, strict=True), strict=True)
        )
        columns = (*table.names, *form.past_covariates, *form.future_covariates)
        for name, column in zip(columns, values.T, strict=True):
            mean, deviation = levels.get(name, (0.0, np.inf))
            middle, spread = float(np.median(column)), float(column.std())
            distance = abs(middle - mean) / deviation
            if (
                distance > _MOST_DISTANCE
                or spread > _MOST_SPREAD * deviation
                or (distance > 2 and spread < _LEAST_SPREAD * deviation)
            ):
                found.append(
                    f"column {name!r} has values around {middle:g} in its last "
                    f"rows; in training they were {mean:g} with a standard "
                    f"deviation of {deviation:g}. Are they in other units?"
                )
        return found


def matched(
    form: SeriesFormat, known: TrainedOn | SeriesFormat, by_channel: bool
) -> SeriesFormat:
    """Return a format whose columns are in the order of those of training.

    Args:
        form: with the columns that a person named, in any order; no `target`
            stands for those of training.
        known: what the model was trained on.
        by_channel: whether it forecasts any columns.

    Raises:
        UserError: they are others.
    """
    if isinstance(known, TrainedOn):
        named = {key: getattr(known, key) for key in _COVARIATES}
        named["target"] = known.targets
    else:
        named = {key: getattr(known, key) for key in (*_COVARIATES, "target")}
    if by_channel or not named["target"]:
        del named["target"]
    for key, own in named.items():
        given = getattr(form, key)
        if {*given} != {*own} and (given or key != "target"):
            columns = "the columns are found by these names"
            if key == "calendar":
                columns = "it is learned"
            raise UserError(
                f"--{key.replace('_', '-')} must be that of the model's "
                f"recipe, {_said(own)}; leave it out, {columns}. "
                f"Received: {_said(given)}"
            )
    return dataclasses.replace(form, **named)


def _said(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value)) or "none"
    return str(value) or "none"
