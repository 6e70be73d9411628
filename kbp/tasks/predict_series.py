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
from kbp.data.formats import csv_table
from kbp.errors import UserError
from kbp.reports.forecast_figures import whole_forecast

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe
    from kbp.tasks.prediction import OpenModel


def fits(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
    """Say whether a model of such shapes can continue rows of values."""
    return len(inputs) == len(outputs) == 2 and inputs[1] == outputs[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file, and how to read it."""
    parser.add_argument("csv", metavar="CSV", help="a CSV file with a header")
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
        help="columns of values, as many as the model takes (default: those "
        "of the model's recipe, or all but the times)",
    )
    parser.add_argument(
        "--missing",
        choices=csv_table.MISSING,
        help="what to do about missing values (default: as the recipe)",
    )


def predict(
    model: "OpenModel",
    recipe: "Recipe | None",
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Write a forecast in the file's own units, and its plot.

    Args:
        model: that forecasts.
        recipe: what it was trained with, if that is known.
        options: `csv`, `time_column`, `columns`, `missing`, and the folder
            `out`.
        console: where to say what was written.

    Raises:
        UserError: the model or the CSV file does not fit, or a file is there;
            nothing was written.
    """
    if not fits(model.inputs, model.outputs):
        raise UserError(
            f"{model.path}: must take rows of values and give as many values "
            f"for the rows after them; takes {model.inputs} and gives "
            f"{model.outputs}"
        )
    source = Path(options.csv)
    reading = _reading(recipe, options)
    table = csv_table.read(source, **reading)
    forecast, window, scale = _forecast(model, table, options.model, source)
    folder = Path(options.out)
    targets = [folder / f"{source.stem}_forecast.{x}" for x in ("csv", "svg")]
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
    model: "OpenModel", table: csv_table.Table, name: str, source: Path
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
