"""`list`: the zoo's entries."""

from rich.table import Table

from kbp import zoo

HELP = "list the entries of the zoo"
EXAMPLES = ("",)


def add_arguments(parser):
    """Add nothing."""


def run(options, console):
    """Run the command."""
    table = Table(title=f"Zoo in {zoo.root()}")
    for column in ("entry", "architecture", "data", "epochs"):
        table.add_column(column)
    for entry in zoo.entries():
        recipe = entry.recipe
        table.add_row(
            entry.name,
            recipe.model.architecture,
            recipe.data.name,
            f"{recipe.training.epochs} + {recipe.quantization.epochs}",
        )
    console.print(table)
