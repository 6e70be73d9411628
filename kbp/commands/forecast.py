"""`forecast`: what follows the rows of a CSV file."""

import csv
import io
import math
from pathlib import Path

import numpy as np

from kbp._utils.files import write_atomically
from kbp.commands.common import check_new, find_models, find_recipe, say_written
from kbp.data.datasets import ett
from kbp.data.formats import csv_series
from kbp.errors import UserError
from kbp.inference import loading
from kbp.recipes.sections import CsvSeriesRecipe
from kbp.reports.forecast_figures import whole_forecast

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
        help="a zoo entry or a run's folder, of which the int8 file is taken, "
        "or a .keras or .tflite file",
    )
    parser.add_argument("csv", metavar="CSV", help="a CSV file with a header")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results"
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
    file = find_models(options.model)[-1]
    predict, shape, outputs = loading.open_model(file)
    if not (len(shape) == len(outputs) == 2 and shape[1] == outputs[1]):
        raise UserError(
            f"{file}: must take rows of values and give as many values for the "
            f"rows after them; takes {shape} and gives {outputs}"
        )
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
    window = table.values[-shape[0] :]
    # Models of kbp take any units, but float32 has no room for a small
    # variation at a high level.
    mean = window.mean(axis=0)
    scale = np.where(np.ptp(window, axis=0) > 0, window.std(axis=0), 1.0)
    relative = ((window - mean) / scale).astype("float32")
    forecast = predict(relative[None])[0].astype("float64") * scale + mean
    if not np.isfinite(forecast).all():
        raise UserError(f"{file}: what it forecasts is not finite.")
    folder = Path(options.out)
    targets = [folder / f"{source.stem}_forecast.{x}" for x in ("csv", "svg")]
    for target in targets:
        check_new(target)
    times = _times_after(source, table.times, len(forecast))
    name = reading["time_column"] or "row"
    contents = (
        _as_csv(name, times, table.names, forecast, scale),
        whole_forecast(window, forecast, table.names),
    )
    if table.filled:
        console.print(f"{table.filled} missing values were filled in.")
    for target, content in zip(targets, contents, strict=True):
        write_atomically(target, content)
        say_written(console, target)


def _reading(options):
    """Return how to read the file: as told, or as the model's recipe does."""
    section, times = _recipe(options.model), options.time_column
    return {
        "time_column": section.time_column if times is None else times,
        "columns": options.columns or section.columns,
        "missing": options.missing or section.missing,
    }


def _recipe(name):
    """Return the data section of a model's recipe, the usual one if none."""
    recipe = find_recipe(name)
    section = recipe.data if recipe else None
    if not isinstance(section, CsvSeriesRecipe):
        return CsvSeriesRecipe()
    if section.name != "file":
        return CsvSeriesRecipe(time_column=ett.TIME_COLUMN)
    return section


def _times_after(source, times, count):
    if len(times) < 2:
        raise UserError(f"{source}: has one row, and needs two to go on from.")
    step = times[-1] - times[-2]
    return [times[-1] + (i + 1) * step for i in range(count)]


def _as_csv(name, times, columns, values, scale):
    """Return rows of values, to a hundred-thousandth of their scale."""
    digits = [max(0, 5 - math.floor(math.log10(x))) for x in scale]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name, *columns])
    for time, row in zip(times, values, strict=True):
        cells = zip(row, digits, strict=True)
        writer.writerow([time, *(f"{x:.{n}f}" for x, n in cells)])
    return text.getvalue()
