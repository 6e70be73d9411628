"""`check-gradients`: a recipe's gradients beside central differences."""

from kbp.commands.shared.common import (
    add_recipe,
    check_changed,
    positive,
    read_changed,
    users_errors,
)

HELP = (
    "compare the gradients of a recipe's model and loss with central "
    "differences, in float64"
)
EXAMPLES = (
    "pyramid_bpnet_small.digits",
    "my.toml --examples 2 --samples 50 --variables head",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    add_recipe(parser)
    parser.add_argument(
        "--examples",
        type=positive,
        default=2,
        metavar="N",
        help="of the training set to compute the loss of (default: 2)",
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=200,
        metavar="N",
        help="elements of each variable to compare at most (default: 200)",
    )
    parser.add_argument(
        "--variables",
        nargs="+",
        metavar="NAME",
        help="of variables or layers to check (default: all that are trained)",
    )
    parser.add_argument(
        "--inference",
        action="store_true",
        help="as the trained model computes (default: as in training, without "
        "random changes)",
    )


check = check_changed


def run(options, console):
    """Run the command; the status is 1 if a gradient is wrong."""
    import keras

    from kbp.diagnostics import check_gradients
    from kbp.reports.fitted_table import FittedTable
    from kbp.tasks import make_task

    recipe, name = read_changed(options)
    task = make_task(recipe, options.data_dir)
    keras.utils.set_random_seed(recipe.training.seed)
    model = task.build()
    batch = next(iter(task.training_batches(seed=recipe.training.seed)))
    x, y = keras.tree.map_structure(
        lambda part: part.numpy()[: options.examples], batch[:2]
    )
    with users_errors(), console.status("Comparing ..."):
        found = check_gradients(
            model,
            x,
            y,
            task.loss,
            options.variables,
            samples=options.samples,
            training=not options.inference,
        )
    rows = [
        (v.name, f"{v.checked:,} of {v.size:,}", f"{v.error:.1e}", v.verdict)
        for v in found.variables
    ]
    title = f"Gradients of {name} beside central differences"
    headings = ["variable", "elements", "relative error", "verdict"]
    console.print(FittedTable(title, headings, rows))
    for note in found.notes():
        console.print(note, markup=False, soft_wrap=True)
    return 0 if found.passed else 1
