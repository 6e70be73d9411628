"""`evaluate`: test score of what a run made."""

from kbp.commands.shared.common import (
    add_data_dir,
    add_imports,
    check_recipe,
    find_models,
    find_recipe,
    read_recipe,
)
from kbp.errors import UserError

HELP = "test score of a run's files, or of one file"
EXAMPLES = (
    "pyramid_bpnet_small.digits",
    "runs/pyramid_bpnet_small.digits",
    "model_int8.tflite --recipe my.toml",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "path",
        metavar="ENTRY_OR_FILE",
        help="a zoo entry, a run's folder, a .keras or a .tflite file",
    )
    parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="whose data to test on (default: the entry's or the run's own)",
    )
    add_data_dir(parser)
    add_imports(parser)


def check(options):
    """Refuse what is wrong before TensorFlow is imported."""
    if options.recipe:
        check_recipe(options.recipe)


def run(options, console):
    """Run the command."""
    from kbp.reports.fitted_table import FittedTable
    from kbp.reports.report import as_rich
    from kbp.tasks import make_task
    from kbp.tasks.scoring import scores

    files = find_models(options.path)
    recipe = find_recipe(options.path)
    if options.recipe:
        recipe, _ = read_recipe(options.recipe)
    if not recipe:
        raise UserError(
            f"{options.path}: belongs to no run of kbp. Say with --recipe "
            "whose data to test on."
        )
    task = make_task(recipe, options.data_dir)
    if task.compared_with:
        console.print(f"Fitting {task.compared_with} to compare with ...")
    # Tables are those of the last file, the int8 file if there is one.
    found = [scores(x, task, tables=x == files[-1]) for x in files]
    rows = [
        [name, *(values[name] for values, _ in found)] for name in found[0][0]
    ]
    title = f"{len(task.splits.test)} test examples of {recipe.data.name}"
    headings = ["", *(file.name for file in files)]
    console.print(FittedTable(title, headings, rows))
    for heading, own in found[-1][1].items():
        console.print(as_rich(heading, own))
