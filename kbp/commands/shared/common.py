"""What several commands share."""

import argparse
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kbp import hub
from kbp._utils import plugins
from kbp._utils.command_line import check_new, positive, say_written
from kbp._utils.process.stderr import suppress_stderr
from kbp._utils.run_files import RECIPE
from kbp.errors import UserError
from kbp.sources import find_models, find_recipe, find_tflite, is_entry

if TYPE_CHECKING:
    from kbp.export import Audit
    from kbp.recipes import Recipe

__all__ = [
    "add_budget",
    "add_data_dir",
    "add_imports",
    "add_recipe",
    "add_settings",
    "add_running",
    "check_changed",
    "check_new",
    "check_recipe",
    "find_models",
    "find_recipe",
    "find_tflite",
    "import_tensorflow",
    "is_entry",
    "positive",
    "read_changed",
    "read_recipe",
    "run_recipe",
    "say_written",
    "summary",
    "users_errors",
]


def check_recipe(name: str, settings: Sequence[str] = ()) -> None:
    """Refuse what is wrong with a recipe as far as it shows without Keras.

    To import that takes longer than a person waits for a misspelled key.

    Args:
        name: of a file or of an entry of the zoo.
        settings: that change it, see `add_settings`.

    Raises:
        UserError: there is no such recipe, or it is wrong.
    """
    from kbp import zoo
    from kbp.recipes.text import check_early

    path = _recipe_file(name)
    if path is None:
        zoo.find(name)
    check_early(path, settings)


def read_recipe(
    name: str, settings: Sequence[str] = ()
) -> tuple["Recipe", str]:
    """Return a recipe and a short name for it, from a file or the zoo.

    Args:
        name: of the file, of its folder or of the zoo's entry.
        settings: that change the recipe.

    Raises:
        UserError: there is no such recipe, or it is wrong.
    """
    from kbp import zoo
    from kbp.recipes import Recipe

    path = _recipe_file(name)
    if path is None:
        return zoo.find(name).recipe.with_settings(settings), name
    short = path.parent.name if path.name == RECIPE else path.stem
    return Recipe.read(path, settings), short or "run"


def add_recipe(
    parser: argparse.ArgumentParser, more: str = "", *, optional: bool = False
) -> None:
    """Add the argument RECIPE, and the options of what it is read with.

    Args:
        parser: of a command that reads a recipe.
        more: what to say of the recipe.
        optional: whether `recipe_to_run` finds it where it is not given.
    """
    parser.add_argument(
        "recipe",
        nargs="?" if optional else None,
        metavar="RECIPE",
        help=f"a TOML file or an entry of the zoo{more}",
    )
    add_settings(parser)
    add_data_dir(parser)
    add_imports(parser)


def check_changed(options: argparse.Namespace) -> None:
    """Check the recipe of `add_recipe` as far as it shows without Keras."""
    check_recipe(options.recipe, options.set)


def read_changed(options: argparse.Namespace) -> tuple["Recipe", str]:
    """Return the recipe of `add_recipe` as it is changed, and its name."""
    return read_recipe(options.recipe, options.set)


def recipe_to_run(
    options: argparse.Namespace, default: str | None = None
) -> str:
    """Return what the recipe of a run is called.

    It is RECIPE, or else with `--resume` that of the run in `--workdir`, which
    has the settings that the run began with.

    Args:
        options: those of `add_recipe` and `add_running`, and `--workdir`.
        default: of neither.

    Raises:
        UserError: there is none.
    """
    if options.recipe is None and options.resume and options.workdir:
        own = Path(options.workdir) / RECIPE
        if own.is_file():
            return str(own)
    if found := options.recipe or default:
        return str(found)
    raise UserError("give RECIPE, or --resume and the --workdir of a run")


def _recipe_file(name: str) -> Path | None:
    """Return the file that a recipe's name means, `None` of the zoo's."""
    if hub.is_name(name):
        return None
    path = Path(name)
    if path.suffix == ".toml" or path.exists() or len(path.parts) > 1:
        return path / RECIPE if path.is_dir() else path
    return None


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the option `--import`, whose modules are imported at once.

    What they register is known before a recipe or a model is read.
    """
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        type=_import,
        metavar="MODULE",
        help="import a module of your own, which registers architectures, data "
        "sets, tasks or layers; may be given again",
    )


def _import(name: str) -> str:
    import_tensorflow()
    try:
        plugins.import_module(name)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def import_tensorflow() -> None:
    """Import TensorFlow without its start-up messages.

    They come from C++, before any log level counts, and would hide the one
    line that says what is wrong. If the import fails, they show, and so does
    what TensorFlow says of a GPU that is there.
    """
    with suppress_stderr(), _collecting_nothing():
        importlib.import_module("keras")
        tensorflow = importlib.import_module("tensorflow")
        if not any(Path("/dev").glob("nvidia*")):
            tensorflow.config.list_physical_devices()  # complains once


@contextlib.contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Import what stays: looking for garbage among it is a sixth of the time.

    Later collections pass over it, too.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option `--data-dir`."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        default=os.environ.get("KBP_DATA") or None,
        help="folder of the data sets in files (default: $KBP_DATA)",
    )


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Add the option `--budget`."""
    parser.add_argument(
        "--budget",
        metavar="SIZE:KIND,...",
        help="fail, with status 1, if the file takes more flash or ram than "
        "this, such as 256kB:flash,64kB:ram (1 kB is 1000 bytes, 1 KiB 1024); "
        "ram is TFLite Micro's arena where that is installed (kbp[micro]), "
        "else that of the activations alone",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_recipe`: `--resume`, `--quiet`, `--verbose`."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the unfinished run in the folder, show the finished, "
        "or begin if there is none",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--quiet",
        action="store_true",
        help="say nothing but the result in a sentence, warnings and errors",
    )
    how.add_argument(
        "--verbose",
        action="store_true",
        help="show what TensorFlow and LiteRT log as well",
    )


def run_recipe(
    recipe: "Recipe",
    workdir: str | Path,
    options: argparse.Namespace,
    console: Console,
) -> None:
    """Run a recipe, and say as much of it as the options ask for.

    Args:
        recipe: to run.
        workdir: folder for everything the run makes.
        options: those of `add_running` and `add_data_dir`.
        console: where progress and the result go.
    """
    from kbp import training
    from kbp.reports.stage import result_in_words
    from kbp.training.workdir import read_run

    stages = training.run(
        recipe,
        workdir,
        data_dir=options.data_dir,
        resume=options.resume,
        console=Console(quiet=True) if options.quiet else console,
    )
    if options.quiet and stages:  # the chief's
        held = read_run(Path(workdir)) or {}
        warnings = [f"Warning: {words}" for words in held["warnings"]]
        for said in (result_in_words(stages, held), *warnings):
            console.print(said, markup=False, highlight=False, soft_wrap=True)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key of the recipe; may be given again",
    )


@contextlib.contextmanager
def users_errors() -> Iterator[None]:
    """Say what the library refuses in one line, as an error of the user's."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error


def summary(audit: "Audit") -> str:
    """Return an audit in one line."""
    return (
        f"{len(audit.operations)} operations, {len(audit.float_operations)} of "
        f"them float; {audit.parameters:,} parameters, {audit.nonzero:,} not "
        f"zero; {audit.size / 1e3:,.0f} kB"
    )
