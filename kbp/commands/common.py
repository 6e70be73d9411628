"""What several commands share."""

import argparse
import contextlib
import os
from pathlib import Path

from rich.console import Console

from kbp import zoo
from kbp.errors import UserError
from kbp.export import Audit
from kbp.inference import loading
from kbp.recipes import Recipe
from kbp.training.workdir import read_run


def read_recipe(name: str) -> tuple[Recipe, str]:
    """Return a recipe and a short name for it, from a file or the zoo.

    Raises:
        UserError: there is no such recipe, or it is wrong.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.exists() or len(path.parts) > 1:
        path = path / "recipe.toml" if path.is_dir() else path
        short = path.parent.name if path.name == "recipe.toml" else path.stem
        return Recipe.read(path), short or "run"
    return zoo.find(name).recipe, name


def is_entry(name: str) -> bool:
    """Say whether a name is one of the zoo, and no file's or folder's."""
    return not Path(name).exists() and name in {e.name for e in zoo.entries()}


def find_models(name: str) -> list[Path]:
    """Return the model files of a zoo entry or a run, or the file itself.

    Raises:
        UserError: there are none.
    """
    if is_entry(name):
        return [zoo.file(name, which) for which in (zoo.MODEL, zoo.INT8)]
    return loading.files_of(Path(name))


def find_recipe(name: str) -> Recipe | None:
    """Return the recipe of a zoo entry or of a file's or folder's run, if any.

    Raises:
        UserError: the run is damaged.
    """
    if is_entry(name):
        return zoo.find(name).recipe
    path = Path(name)
    run = read_run(path if path.is_dir() else path.parent)
    return run and Recipe.parse(run["recipe"])


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option `--data-dir`."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        default=os.environ.get("KBP_DATA") or None,
        help="folder of the data sets in files (default: $KBP_DATA)",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key of the recipe; may be given again",
    )


def check_new(path: Path) -> None:
    """Refuse to write over a file, or below one.

    Raises:
        UserError: it is there.
    """
    if path.parent.exists() and not path.parent.is_dir():
        raise UserError(f"{path.parent}: is no folder. Choose another --out.")
    if path.exists():
        raise UserError(f"{path}: exists. Choose another --out.")


def say_written(console: Console, path: Path) -> None:
    """Say that a file was written, in one line whatever its name is."""
    console.print(
        f"Written: {path}", markup=False, highlight=False, soft_wrap=True
    )


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more: {text}")
    return int(text)


@contextlib.contextmanager
def users_errors():
    """Say what the library refuses in one line, as an error of the user's."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error


def summary(audit: Audit) -> str:
    """Return an audit in one line."""
    return (
        f"{len(audit.operations)} operations, {len(audit.float_operations)} of "
        f"them float; {audit.parameters:,} parameters, {audit.nonzero:,} not "
        f"zero; {audit.size / 1e3:,.0f} kB"
    )
