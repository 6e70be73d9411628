"""`train`: run a recipe from data to report; also `python train.py`."""

from pathlib import Path

from kbp._utils.run_files import RECIPE
from kbp.commands.shared.common import (
    add_data_dir,
    add_imports,
    add_running,
    add_settings,
    check_recipe,
    read_recipe,
    run_recipe,
)

HELP = (
    "train a recipe, prune and quantize the model while it trains, export it "
    "to SavedModel and .tflite, verify the files and write a report"
)
EXAMPLES = (
    "",
    "bp_transformer_small.digits",
    "my.toml --workdir runs/mine --set training.epochs=30",
    "--workdir runs/mine --resume",
    "my.toml --import my_models",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    from kbp import zoo

    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="a TOML file or an entry of the zoo (default: with --resume that "
        f"of the run in --workdir, else {zoo.DEFAULT})",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder for everything the run makes (default: runs/RECIPE)",
    )
    add_settings(parser)
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="auto, one_device, mirrored, multi_worker or tpu; sets "
        "training.strategy",
    )
    add_data_dir(parser)
    add_imports(parser)
    add_running(parser)


def check(options):
    """Refuse what is wrong before TensorFlow is imported."""
    check_recipe(_recipe(options), _settings(options))


def run(options, console):
    """Run the command."""
    recipe, name = read_recipe(_recipe(options), _settings(options))
    workdir = options.workdir or Path("runs") / name
    run_recipe(recipe, workdir, options, console)


def _recipe(options):
    """Return what the recipe is called; that of a run has its settings."""
    from kbp import zoo

    if options.recipe is None and options.resume and options.workdir:
        own = Path(options.workdir) / RECIPE
        if own.is_file():
            return str(own)
    return options.recipe or zoo.DEFAULT


def _settings(options):
    if not options.strategy:
        return options.set
    return [*options.set, f"training.strategy={options.strategy}"]
