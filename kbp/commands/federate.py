"""`federate`: train a recipe by clients who keep their data."""

from pathlib import Path

from kbp.commands.shared.common import (
    add_recipe,
    add_running,
    check_recipe,
    positive,
    read_recipe,
    recipe_to_run,
    run_recipe,
    say_written,
)
from kbp.errors import UserError

HELP = (
    "train a recipe in rounds by clients who keep their data, on Flower: in "
    "this process, or as an app for machines far apart"
)
EXAMPLES = (
    "pyramid_bpnet_small.digits --clients 10 --rounds 20 --alpha 0.3",
    "my.toml --clients 4 --rounds 30 --workdir runs/together",
    "--workdir runs/together --resume",
    "my.toml --clients 4 --rounds 30 --app hospitals",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_recipe(
        parser,
        " (default: with --resume that of the run in --workdir)",
        optional=True,
    )
    parser.add_argument(
        "--clients",
        type=positive,
        metavar="N",
        help="how many there are; sets federated.clients",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="how many there are before the model is quantized; sets "
        "training.epochs to so many times federated.local_epochs",
    )
    parser.add_argument(
        "--alpha",
        metavar="A",
        help="share out each class by a Dirichlet distribution with this "
        "parameter; the smaller, the more clients differ",
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="of the server, such as fedavg or fedmedian; sets "
        "federated.strategy",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder for everything the run makes (default: "
        "runs/RECIPE-federated, or on the server's machine "
        "runs/RECIPE-machines)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--simulate",
        action="store_true",
        help="train the clients in this process, in turn; this is the default",
    )
    where.add_argument(
        "--app",
        metavar="FOLDER",
        help="train nothing, but write a Flower app for `flwr run`, whose "
        "README says how to start it on several machines",
    )
    add_running(parser)


def check(options):
    """Refuse what is wrong before TensorFlow is imported."""
    for name in ("resume", "quiet", "verbose"):
        if options.app and getattr(options, name):
            raise UserError(f"--{name} has no effect with --app")
    if options.app and Path(options.app).exists():
        raise UserError(f"{options.app}: exists. Choose another --app.")
    check_recipe(recipe_to_run(options), options.set)


def run(options, console):
    """Run the command."""
    # How many epochs a round has may be among the settings.
    rounds = [f"training.epochs={options.rounds}"] if options.rounds else []
    settings = [*options.set, *_settings(options), *rounds]
    recipe, name = read_recipe(recipe_to_run(options), settings)
    if not recipe.federated.clients:
        raise UserError("give --clients N, or set federated.clients")
    if options.rounds:
        epochs = options.rounds * recipe.federated.local_epochs
        recipe = recipe.with_settings([f"training.epochs={epochs}"])
    kind = "machines" if options.app else "federated"
    workdir = options.workdir or Path("runs") / f"{name}-{kind}"
    if options.app:
        from kbp.federated import write_app

        write_app(
            recipe, options.app, workdir=workdir, data_dir=options.data_dir
        )
        say_written(console, options.app)
        return
    run_recipe(recipe, workdir, options, console)


def _settings(options):
    """Return the settings that the options stand for."""
    found = []
    if options.clients:
        found.append(f"federated.clients={options.clients}")
    if options.strategy:
        found.append(f"federated.strategy={options.strategy}")
    if options.alpha:
        found += [
            "federated.partition=dirichlet",
            f"federated.alpha={options.alpha}",
        ]
    return found
