"""`predict`: what a model makes of a person's own files."""

import argparse
from pathlib import Path

from kbp._utils.run_files import INT8
from kbp.commands.shared.common import add_imports, find_models

HELP = (
    "ask a model about your own files: classes or masks of images, classes of "
    "recordings, forecasts of series, rows of tables"
)
EXAMPLES = (
    "runs/photos new/*.jpg --out classes",
    "runs/mine slices/*.png --out masks",
    "model_int8.tflite slices --out masks --overlap 64",
    "runs/load load.csv --out forecasts",
    "runs/plants new.csv --out predictions",
    "runs/neurons new/*.npz --out classes",
    "runs/mine --help",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_imports(parser)
    add_model(parser)
    parser.add_argument(
        "rest",
        nargs=argparse.REMAINDER,
        metavar="FILE ... --out DIR",
        help="files and options, which depend on what the model is for: "
        "`MODEL --help` lists them",
    )
    parser.set_defaults(parser=parser)


def add_model(parser):
    """Add the model to a parser."""
    parser.add_argument(
        "model",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry or a run's folder, of which the int8 file is taken "
        "if there is one, or a .keras or .tflite file",
    )


def add_out(parser):
    """Add the folder for the results to a parser."""
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for the results"
    )


def run(options, console):
    """Run the command."""
    from kbp.tasks.prediction import task_of

    # What is imported says what the model's recipe means.
    parser = type(options.parser)(add_help=False)
    add_imports(parser)
    _, rest = parser.parse_known_args(options.rest)
    model, recipe = open_model(options.model, console)
    prediction = task_of(model, recipe).prediction
    # The model chooses the task, and the task what follows.
    words = f"{options.parser.prog} {options.model}"
    parser = type(options.parser)(prog=words)
    prediction.add_arguments(parser)
    add_out(parser)
    parser.parse_args(rest, options)
    prediction.run(model, recipe, options, console)


def open_model(name, console):
    """Return an opened model, and its recipe if that is known.

    Runs without quantization have no int8 file; that another one answers is
    said, since its figures are others.
    """
    from kbp.sources import recipe_of
    from kbp.tasks.prediction import OpenModel

    # The last is an int8 file where there is one.
    path = find_models(name)[-1]
    model = OpenModel.open(path)
    recipe = recipe_of(model, name)
    if Path(name).is_dir() and path.name != INT8:
        console.print(
            f"{name}: has no {INT8}; {path.name} answers.",
            markup=False,
            soft_wrap=True,
        )
    return model, recipe
