"""`train`: run a recipe from data to report; also `python train.py`."""

from pathlib import Path

from kbp.commands.shared.common import (
    add_recipe,
    add_running,
    check_recipe,
    read_recipe,
    recipe_to_run,
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

    add_recipe(
        parser,
        " (default: with --resume that of the run in --workdir, else "
        f"{zoo.DEFAULT})",
        optional=True,
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder for everything the run makes (default: runs/RECIPE)",
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="auto, one_device, mirrored, multi_worker or tpu; sets "
        "training.strategy",
    )
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
    from kbp import zoo

    return recipe_to_run(options, zoo.DEFAULT)


def _settings(options):
    if not options.strategy:
        return options.set
    return [*options.set, f"training.strategy={options.strategy}"]
