"""What follows the rows of a person's CSV file, by a forecasting model."""

import argparse
import contextlib
import dataclasses
import math
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console

from kbp._utils.command_line import check_new, say_written
from kbp._utils.csv_text import as_csv
from kbp._utils.files import write_atomically
from kbp._utils.run_files import INTERVALS
from kbp.data.formats import grid, series_table
from kbp.data.formats.covariates import CALENDAR
from kbp.data.formats.encodings import encoded_as
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_reader import Series
from kbp.data.splitting import some
from kbp.errors import UserError
from kbp.reports.forecast_figures import whole_forecast
from kbp.tasks.forecasts.intervals import Intervals
from kbp.tasks.forecasts.walk import outcomes, walk
from kbp.tasks.prediction import OpenModel, Prediction
from kbp.tasks.series_model import Forecasts, SeriesModel

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_SHOWN = 8  # series in the plot
_WALKED = 1024  # windows of all series that intervals adapt to
# Of the keys of `SeriesFormat`, as the command's help has them.
_HELP = {
    "time_column": "column of times, '' for none",
    "target": "columns to forecast; models that forecast channel by channel "
    "take any number",
    "id_column": "column that says which series a row is of, '' for none",
    "past_covariates": "columns that are known of the past alone",
    "future_covariates": "columns that are known ahead",
    "calendar": f"features of local time: {', '.join(CALENDAR)}",
    "static": "columns of categories, each constant in a series",
    "missing": "what to do about missing values",
    "missing_values": "what stands for missing numbers, such as -999",
    "separator": "of the fields, '' to find it in the first line",
    "decimal": "the decimal mark",
    "encoding": "such as utf-8 or cp1252",
    "date_format": "of the times, such as '%%d.%%m.%%Y %%H:%%M', '' for "
    "ISO 8601",
    "time_zone": "which local times are of, such as Europe/Berlin",
    "resample": "take means over steps of this length, such as 1h",
}
_METAVARS = dict.fromkeys(_HELP, "NAME") | {
    "missing_values": "VALUE",
    "separator": "MARK",
    "date_format": "FORMAT",
    "resample": "STEP",
}


class SeriesPrediction(Prediction):
    """A forecast in the file's own units, and its plot."""

    kind = "series"
    needs = (
        "must take rows of values and give as many values for the rows after "
        "them"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        if not len(inputs) == len(outputs) == 2:
            return False
        (rows, columns), (horizon, targets) = inputs, outputs
        # With covariates there are rows for the horizon, too.
        return columns == targets or (columns > targets and rows > horizon)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "csv", metavar="CSV", help="a CSV or Parquet file with a header"
        )
        parser.add_argument(
            "--future",
            metavar="FILE",
            help="file of later rows with the covariates that are known ahead "
            "(default: the last rows of CSV, whose targets are empty)",
        )
        hints = typing.get_type_hints(SeriesFormat)
        for key in dataclasses.fields(SeriesFormat):
            several = hints[key.name] is not str
            choices = key.metadata.get("choices")
            parser.add_argument(
                f"--{key.name.replace('_', '-')}",
                nargs="*" if several else None,
                choices=choices,
                metavar=None if choices else _METAVARS[key.name],
                help=_HELP[key.name] + " (default: as the model's recipe)",
            )

    @classmethod
    def write(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        source = Path(options.csv)
        forecaster = SeriesModel(model, recipe)
        form = forecaster.matched(_format(recipe, options))
        table = series_table.read(
            source,
            form,
            later=options.future,
            categories=forecaster.categories(form),
        )
        forecaster.check(source, table)
        if ended := _ended(table):
            console.print(ended, markup=False, soft_wrap=True)
        known = forecaster.trained_on
        for sentence in (
            *table.warnings,
            *(known.misfits(table) if known else ()),
        ):
            console.print(f"Warning: {sentence}", markup=False, soft_wrap=True)
        intervals = _intervals(model, table, console)
        members = _members(model, recipe)
        found, widths, deviations = {}, {}, {}
        for series in table.series:
            ends = _ends(series, forecaster, table, intervals)
            forecasts = forecaster.forecast(table, series, ends)
            found[series.name] = forecasts.last
            if members:
                each = [x.forecast(table, series, ends[-1:]) for x in members]
                values = np.stack([x.values[0] for x in each])
                deviations[series.name] = values.std(axis=0)
            if intervals:
                widths[series.name] = _half_widths(
                    intervals, series.values, ends, forecasts
                )
        folder = Path(options.out)
        targets = [
            folder / f"{source.stem}_forecast.{x}" for x in ("csv", "svg")
        ]
        for target in targets:
            check_new(target)
        contents: tuple[bytes | str, ...] = (
            encoded_as(
                source,
                table.format.encoding,
                _as_csv(table, found, widths, intervals, deviations),
            ),
            _as_figure(table, found, widths),
        )
        for what, count in table.counts.items():
            console.print(f"{count} {what}.", markup=False, soft_wrap=True)
        for target, content in zip(targets, contents, strict=True):
            write_atomically(target, content)
            say_written(console, target)


def _members(model: OpenModel, recipe: "Recipe | None") -> list[SeriesModel]:
    """Return each member of an ensemble as a model that forecasts series."""
    members = model.members(recipe)
    if members is None:
        return []
    count = recipe.ensemble.members if recipe else 0

    def member(number: int) -> OpenModel:
        return dataclasses.replace(model, predict=lambda x: members(x)[number])

    return [SeriesModel(member(n), recipe) for n in range(count)]


def _format(
    recipe: "Recipe | None", options: argparse.Namespace
) -> SeriesFormat:
    """Return how to read the file: as told, or as the model's recipe does."""
    config = recipe.data.config if recipe else None
    form = getattr(config, "format", SeriesFormat())
    given = {}
    for key in vars(form):
        value = getattr(options, key)
        if value is not None:
            given[key] = tuple(value) if isinstance(value, list) else value
    form = dataclasses.replace(form, **given)
    form.check()
    return form


def _ended(table: series_table.Table) -> str:
    """Say which series end before others, whose forecasts begin earlier."""
    if not table.format.time_column:
        return ""
    ends = {series.name: series.times[-1] for series in table.series}
    last = max(ends.values())
    early = [f"{name!r} at {end}" for name, end in ends.items() if end < last]
    if not early:
        return ""
    one = len(early) == 1
    return (
        f"{len(early)} of {len(ends)} series end{'s' if one else ''} before "
        f"{last}, and {'is' if one else 'are'} forecast from the last row of "
        f"{'its' if one else 'their'} own: {some(early)}."
    )


def _intervals(
    model: OpenModel, table: series_table.Table, console: Console
) -> Intervals | None:
    """Return the intervals that lie beside a model, if they fit a table."""
    file = model.path.parent / INTERVALS
    if not file.is_file():
        return None
    found = Intervals.read(file)
    if table.step and found.step not in ("", str(table.step)):
        console.print(
            "The forecast has no intervals: those of the model are of rows "
            f"{found.step} apart.",
            markup=False,
        )
        return None
    if found.widths.shape[1] != model.outputs[0]:
        raise UserError(
            f"{file}: is of {found.widths.shape[1]} rows ahead, and "
            f"{model.path.name} forecasts {model.outputs[0]}. Move it away to "
            "forecast without intervals."
        )
    if fitting := found.of(table.names):
        return fitting
    console.print(
        "The forecast has no intervals: those of the model are of the columns "
        f"{', '.join(found.names)}.",
        markup=False,
    )
    return None


def _ends(
    series: Series,
    forecaster: SeriesModel,
    table: series_table.Table,
    intervals: Intervals | None,
) -> np.ndarray:
    """Return where windows end: at the last row, and before if it helps.

    Intervals adapt to rows that were neither learned nor calibrated from.
    """
    rows = len(series.values)
    first = rows
    if intervals and intervals.since:
        with contextlib.suppress(ValueError, TypeError):  # times of other kinds
            first = int(series.times.searchsorted(_limit(series, intervals)))
    most = max(1, _WALKED // len(table.series))
    begin = max(forecaster.lookback, first, rows - most)
    return np.arange(min(begin, rows), rows + 1)


def _limit(series: Series, intervals: Intervals) -> Any:
    """Return `intervals.since` as times of a series are compared with it."""
    if isinstance(series.times, pd.DatetimeIndex):
        return pd.Timestamp(intervals.since)
    return float(intervals.since)


def _half_widths(
    intervals: Intervals,
    values: np.ndarray,
    ends: np.ndarray,
    forecasts: Forecasts,
) -> np.ndarray:
    """Return those of the last forecast, `(levels, horizon, columns)`."""
    walked = slice(len(ends) - 1)  # what follows the last is not known
    factors = walk(
        intervals,
        forecasts.past[walked],
        forecasts.values[walked],
        outcomes(values, ends[walked], forecasts.values.shape[1]),
        scale=np.ones(1),
        floor=intervals.floor,
    ).factors
    (last,) = intervals.half_widths(forecasts.past[-1:])
    # An interval holds those of lower levels.
    widths: np.ndarray = np.maximum.accumulate(last * factors[:, None])
    return widths


def _as_figure(
    table: series_table.Table,
    found: dict[str, Forecasts],
    widths: dict[str, np.ndarray],
) -> str:
    """Plot the forecasts of the first series."""
    shown = list(found.items())[:_SHOWN]
    half = [widths[name] for name, _ in shown if name in widths]
    return whole_forecast(
        np.concatenate([x.past[0] for _, x in shown], axis=-1),
        np.concatenate([x.values[0] for _, x in shown], axis=-1),
        [f"{name} {y}".strip() for name, _ in shown for y in table.names],
        np.concatenate(half, axis=-1) if half else None,
    )


def _as_csv(
    table: series_table.Table,
    found: dict[str, Forecasts],
    widths: dict[str, np.ndarray],
    intervals: Intervals | None,
    deviations: dict[str, np.ndarray],
) -> str:
    """Return rows of values, to a hundred-thousandth of their scale.

    The first column has the times, named as the file names them. After each
    column come the ends of its intervals, and of an ensemble the deviation of
    its members' forecasts.
    """
    form = table.format
    ids = [form.id_column] if form.id_column else []
    levels = intervals.levels if intervals else ()
    ends = [f"_{end}_{x:g}" for x in levels for end in ("low", "high")]
    ends += ["_deviation"] if deviations else []
    names = [f"{name}{end}" for name in table.names for end in ("", *ends)]
    rows: list[list[Any]] = [[form.time_column or "row", *ids, *names]]
    for series in table.series:
        forecast = found[series.name]
        values = forecast.values[0]
        name = [series.name] if ids else []
        digits = [
            max(0, 5 - math.floor(math.log10(x)))
            for x in forecast.scale[0, 0]
            for _ in ("", *ends)
        ]
        half = widths.get(series.name, ())
        parts = [values, *(values + s * x for x in half for s in (-1, 1))]
        if deviations:
            parts.append(deviations[series.name])
        values = np.stack(parts, axis=-1).reshape(len(values), -1)
        times = grid.later(series.times, len(values))
        for time, row in zip(times, values, strict=True):
            cells = zip(row, digits, strict=True)
            rows.append([time, *name, *(f"{x:.{n}f}" for x, n in cells)])
    return as_csv(rows)
