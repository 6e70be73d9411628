"""A class or a number for each row of a person's CSV file."""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from kbp._utils.command_line import check_new, say_written
from kbp._utils.csv_text import plain_cell
from kbp._utils.files import write_atomically
from kbp._utils.run_files import COLUMNS
from kbp.data.formats import frames, table_rows
from kbp.data.formats.encodings import encoded_as
from kbp.data.splitting import some
from kbp.data.table import TableColumns
from kbp.data.tables.csv_records import SEPARATORS
from kbp.errors import UserError
from kbp.tasks.predict_classes import SPREAD, probabilities, spread_of
from kbp.tasks.prediction import OpenModel, Prediction

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

PREDICTED, PROBABILITY = "predicted", "probability"
_DIGITS = 7  # of a float32
_MOST_DISTANCE = 8.0  # of the middle of a column, in deviations of training


class TablePrediction(Prediction):
    """The file's rows with what the model predicts for each."""

    kind = "table"
    needs = "must take the columns of a row and give classes or a number"

    @classmethod
    def fits(cls, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        return len(inputs) == len(outputs) == 1

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "table", metavar="FILE", help="a CSV file with a header, or Parquet"
        )
        parser.add_argument(
            "--separator",
            choices=SEPARATORS,
            help="of the fields (default: as the model's recipe, or found)",
        )
        parser.add_argument(
            "--decimal",
            choices=frames.DECIMALS,
            help="the decimal mark (default: as the model's recipe)",
        )
        parser.add_argument(
            "--encoding", help="of the file (default: as the model's recipe)"
        )

    @classmethod
    def write(
        cls,
        model: OpenModel,
        recipe: "Recipe | None",
        options: argparse.Namespace,
        console: Console,
    ) -> None:
        source, columns = Path(options.table), _columns(model)
        target = Path(options.out) / "predictions.csv"
        check_new(target)
        separator, decimal, encoding = (
            getattr(options, key)
            or getattr(recipe and recipe.data.config, key, usual)
            for key, usual in (
                ("separator", ""),
                ("decimal", "."),
                ("encoding", "utf-8"),
            )
        )
        frame = frames.read_frame(
            source, separator=separator, encoding=encoding
        )
        rows = table_rows.encode(source, frame, columns, decimal=decimal)
        outputs = model.predict(rows.inputs).astype("float64")
        if not np.isfinite(outputs).all():
            raise UserError(f"{model.path}: what it predicts is not finite.")
        _say(console, rows, columns)
        for sentence in _other_units(rows, columns):
            console.print(f"Warning: {sentence}", markup=False, soft_wrap=True)
        results = {
            free_name(name, frame.columns): values
            for name, values in {
                **_results(outputs, columns, decimal, recipe),
                **_spread(model.members(recipe), rows.inputs, outputs, decimal),
            }.items()
        }
        written = frame.assign(**results)
        written = written.map(plain_cell).rename(columns=plain_cell)
        content = written.to_csv(
            index=False,
            sep=frame.attrs.get("separator")
            or (";" if decimal == "," else ","),
            lineterminator="\n",
        )
        write_atomically(target, encoded_as(source, encoding, content))
        say_written(console, target)


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name that no column of a file has yet.

    Example:
    >>> free_name("predicted", ["size", "predicted"])
    'predicted_2'
    """
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(x for x in itertools.chain([name], numbered) if x not in taken)


def _columns(model: OpenModel) -> TableColumns:
    """Return what the columns of a model are, from the text with it."""
    text = model.text(COLUMNS)
    if text is None:
        raise UserError(
            f"{model.path.parent / COLUMNS}: no such file. It says what the "
            f"columns of {model.path.name} are, and lies beside it in the "
            "run's folder."
        )
    columns = text.parsed(TableColumns.from_json)
    shapes = (
        (len(columns.features),),
        (max(1, len(columns.target.categories)),),
    )
    if shapes != (model.inputs, model.outputs):
        raise UserError(
            f"{text.place}: is of a model that takes {shapes[0]} and gives "
            f"{shapes[1]}; {model.path.name} takes {model.inputs} and gives "
            f"{model.outputs}"
        )
    return columns


def _results(
    outputs: np.ndarray,
    columns: TableColumns,
    decimal: str,
    recipe: "Recipe | None",
) -> dict[str, Any]:
    """Return the columns to add to a file, as text."""
    names = columns.target.categories
    if names:
        likely = probabilities(outputs, recipe).max(axis=-1)
        return {
            PREDICTED: [names[i] for i in outputs.argmax(axis=-1)],
            PROBABILITY: _as_text(likely, ".4f", decimal),
        }
    return {PREDICTED: _as_text(outputs[:, 0], f".{_DIGITS}g", decimal)}


def _spread(
    members: Callable[[np.ndarray], np.ndarray] | None,
    inputs: np.ndarray,
    outputs: np.ndarray,
    decimal: str,
) -> dict[str, list[str]]:
    """Return columns of how far an ensemble's members differ, as text."""
    if members is None:
        return {}
    if outputs.shape[-1] == 1:  # numbers
        deviation = members(inputs)[..., 0].astype("float64").std(axis=0)
        return {SPREAD[0]: _as_text(deviation, f".{_DIGITS}g", decimal)}
    found = spread_of(members, inputs, outputs.argmax(axis=-1))
    return {
        name: _as_text(np.array(values), ".4f", decimal)
        for name, values in zip(SPREAD, zip(*found, strict=True), strict=True)
    }


def _as_text(values: np.ndarray, form: str, decimal: str) -> list[str]:
    return [format(x, form).replace(".", decimal) for x in values.tolist()]


def _other_units(
    rows: table_rows.EncodedRows, columns: TableColumns
) -> list[str]:
    """Return sentences about numbers far from those of the training rows."""
    found = []
    middles = np.median(rows.inputs.astype("float64"), axis=0)
    for column, middle in zip(columns.features, middles, strict=True):
        far = abs(middle - column.mean) > _MOST_DISTANCE * column.deviation
        if column.is_number and far:
            found.append(
                f"column {column.name!r} has values around {middle:g}; in "
                f"training they were {column.mean:g} with a standard deviation "
                f"of {column.deviation:g}. Are they in other units?"
            )
    return found


def _say(
    console: Console, rows: table_rows.EncodedRows, columns: TableColumns
) -> None:
    """Say what was missing or unknown."""
    if rows.filled:
        console.print(
            f"{rows.filled} missing numbers were filled in with the mean of "
            "the training rows."
        )
    for name, count in rows.absent.items():
        console.print(
            f"{count} of {len(rows.inputs)} rows have no category in column "
            f"{name!r}.",
            markup=False,
            soft_wrap=True,
        )
    for name, strange in rows.unknown.items():
        often = [text for text, _ in Counter(strange).most_common()]
        console.print(
            f"{len(strange)} of {len(rows.inputs)} rows have an unknown "
            f"category in column {name!r}, such as {some(often[:3])}: it "
            "counts as none.",
            markup=False,
            soft_wrap=True,
        )
