"""`forecast`: what follows the rows of a CSV file."""

import csv
import io
from pathlib import Path

import numpy as np

from kbp import zoo
from kbp.commands.common import (
    check_new,
    find_models,
    is_entry,
    say_written,
)
from kbp.data import csv_series, ett
from kbp.errors import UserError
from kbp.export.files import write_atomically
from kbp.training import evaluate
from kbp.training.forecast_plots import whole_forecast
from kbp.training.sections import CsvSeriesRecipe

HELP = "forecast what follows a CSV file's rows, in its own units"
EXAMPLES = (
    "runs/mine load.csv --out forecasts",
    "model_int8.tflite load.csv --time-column date --out forecasts",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "model",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, a .keras or a .tflite file",
    )
    parser.add_argument("csv", metavar="CSV", help="a CSV file with a header")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results"
    )
    parser.add_argument(
        "--time-column",
        metavar="NAME",
        help="column of times (default: that of the model's recipe)",
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
        choices=csv_series.MISSING,
        help="what to do about missing values (default: as the recipe)",
    )


def run(options, console):
    """Run the command."""
    # The last is an int8 file where there is one.
    predict, shape = evaluate.open_model(find_models(options.model)[-1])
    if len(shape) != 2:
        raise UserError(f"{options.model}: takes {shape}, no series.")
    source = Path(options.csv)
    reading = _reading(options)
    table = csv_series.read(source, **reading)
    if len(table.names) != shape[1]:
        raise UserError(
            f"{source}: has {len(table.names)} columns of values, "
            f"{', '.join(table.names)}; {options.model} takes {shape[1]}. "
            "Choose them with --columns."
        )
    if len(table.values) < shape[0]:
        raise UserError(
            f"{source}: has {len(table.values)} rows; {options.model} looks "
            f"back on {shape[0]}."
        )
    window = table.values[-shape[0] :].astype("float32")
    forecast = predict(window[None])[0]
    if forecast.ndim != 2 or forecast.shape[1] != shape[1]:
        raise UserError(f"{options.model}: forecasts no series.")
    folder = Path(options.out)
    targets = [folder / f"{source.stem}_forecast.{x}" for x in ("csv", "svg")]
    for target in targets:
        check_new(target)
    times = _times_after(table.times, len(forecast))
    name = reading["time_column"] or "row"
    contents = (
        _as_csv(name, times, table.names, forecast),
        whole_forecast(window, forecast, table.names),
    )
    if table.filled:
        console.print(f"{table.filled} missing values were filled in.")
    for target, content in zip(targets, contents, strict=True):
        write_atomically(target, content)
        say_written(console, target)


def _reading(options):
    """Return how to read the file: as told, or as the model's recipe does."""
    section = _recipe(options.model)
    return {
        "time_column": options.time_column or section.time_column,
        "columns": options.columns or section.columns,
        "missing": options.missing or section.missing,
    }


def _recipe(name):
    """Return the data section of a model's recipe, the usual one if none."""
    try:
        if is_entry(name):
            section = zoo.find(name).recipe.data
        else:
            section = evaluate.recipe_of(Path(name)).data
    except UserError:
        return CsvSeriesRecipe()
    if not isinstance(section, CsvSeriesRecipe):
        return CsvSeriesRecipe()
    if section.name != "file":
        return CsvSeriesRecipe(time_column=ett.TIME_COLUMN)
    return section


def _times_after(times, count):
    step = times[-1] - times[-2] if len(times) > 1 else 1
    return [times[-1] + (i + 1) * step for i in range(count)]


def _as_csv(name, times, columns, values):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name, *columns])
    for time, row in zip(times, values, strict=True):
        writer.writerow([time, *(f"{x:.7g}" for x in np.asarray(row))])
    return text.getvalue()
