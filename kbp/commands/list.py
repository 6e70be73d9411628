"""`list`: the zoo's entries."""

from rich.table import Table

from kbp import zoo

HELP = "list the entries of the zoo"
EXAMPLES = ("", "--verify")


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check each entry's files, and that its models still give the "
        "golden outputs",
    )


def needs_tensorflow(options):
    """Say whether models are to be run."""
    return options.verify


def run(options, console):
    """Run the command."""
    entries = zoo.entries()
    table = Table(title=f"Zoo in {zoo.root()}")
    table.add_column("entry", overflow="fold")  # whole, to be copied
    for column in ("data", "epochs", "weights"):
        table.add_column(column)
    for entry in entries:
        weights = "yes" if entry.has_weights else "-"
        if options.verify and entry.has_weights:
            zoo.verify(entry.name)
            weights = "verified"
        table.add_row(
            entry.name,
            entry.data_set,
            " + ".join(map(str, entry.epochs)),
            weights,
        )
    console.print(table)
    if any(entry.is_elsewhere for entry in entries):
        console.print(zoo.ELSEWHERE)
