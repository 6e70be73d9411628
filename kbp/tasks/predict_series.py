"""What follows the rows of a person's CSV file, by a forecasting model."""

import argparse
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from kbp._utils.command_line import check_new, say_written
from kbp._utils.files import write_atomically
from kbp.data.formats import series_table
from kbp.errors import UserError
from kbp.reports.forecast_figures import whole_forecast
from kbp.tasks.prediction import OpenModel, Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


class SeriesPrediction(Prediction):
    """A forecast in the file's own units, and its plot."""

    needs = (
        "must take rows of values and give as many values for the rows after "
        "them"
    )

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        return len(inputs) == len(outputs) == 2 and inputs[1] == outputs[1]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "csv", metavar="CSV", help="a CSV file with a header"
        )
        parser.add_argument(
            "--time-column",
            metavar="NAME",
            help="column of times, '' for none (default: that of the model's "
            "recipe)",
        )
        parser.add_argument(
            "--columns",
            nargs="+",
            metavar="NAME",
            help="columns of values, as many as the model takes (default: "
            "those of the model's recipe, or all but the times)",
        )
        parser.add_argument(
            "--missing",
            choices=series_table.MISSING,
            help="what to do about missing values (default: as the recipe)",
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
        reading = _reading(recipe, options)
        table = series_table.read(source, **reading)
        forecast, window, scale = _forecast(model, table, options.model, source)
        folder = Path(options.out)
        targets = [
            folder / f"{source.stem}_forecast.{x}" for x in ("csv", "svg")
        ]
        for target in targets:
            check_new(target)
        times = _times_after(source, table.times, len(forecast))
        name = reading.get("time_column") or "row"
        contents = (
            _as_csv(name, times, table.names, forecast, scale),
            whole_forecast(window, forecast, table.names),
        )
        if table.filled:
            console.print(f"{table.filled} missing values were filled in.")
        for target, content in zip(targets, contents, strict=True):
            write_atomically(target, content)
            say_written(console, target)


def _reading(
    recipe: "Recipe | None", options: argparse.Namespace
) -> dict[str, Any]:
    """Return how to read the file: as told, or as the model's recipe does."""
    config = recipe.data.config if recipe else None
    reading = dict(getattr(config, "reading", {}))
    given = {
        "time_column": options.time_column,
        "columns": options.columns,
        "missing": options.missing,
    }
    return reading | {k: v for k, v in given.items() if v is not None}


def _forecast(
    model: OpenModel, table: series_table.Table, name: str, source: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return forecast, window and its scale, in the units of the table."""
    rows, columns = model.inputs
    if len(table.names) != columns:
        raise UserError(
            f"{source}: has {len(table.names)} columns of values, "
            f"{', '.join(table.names)}; {name} takes {columns}. "
            "Choose them with --columns."
        )
    if len(table.values) < rows:
        raise UserError(
            f"{source}: has {len(table.values)} rows; {name} looks "
            f"back on {rows}."
        )
    window = table.values[-rows:]
    # Models of kbp take any units, but float32 has no room for a small
    # variation at a high level.
    mean = window.mean(axis=0)
    scale = np.where(np.ptp(window, axis=0) > 0, window.std(axis=0), 1.0)
    relative = ((window - mean) / scale).astype("float32")
    forecast = model.predict(relative[None])[0].astype("float64") * scale + mean
    if not np.isfinite(forecast).all():
        raise UserError(f"{model.path}: what it forecasts is not finite.")
    return forecast, window, scale


def _times_after(source: Path, times: Sequence[Any], count: int) -> list[Any]:
    if len(times) < 2:
        raise UserError(f"{source}: has one row, and needs two to go on from.")
    step = times[-1] - times[-2]
    return [times[-1] + (i + 1) * step for i in range(count)]


def _as_csv(
    name: str,
    times: Sequence[Any],
    columns: Sequence[str],
    values: np.ndarray,
    scale: np.ndarray,
) -> str:
    """Return rows of values, to a hundred-thousandth of their scale."""
    digits = [max(0, 5 - math.floor(math.log10(x))) for x in scale]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name, *columns])
    for time, row in zip(times, values, strict=True):
        cells = zip(row, digits, strict=True)
        writer.writerow([time, *(f"{x:.{n}f}" for x, n in cells)])
    return text.getvalue()
