"""`publish`: a race's results, into the zoo and every table."""

from pathlib import Path

from kbp.benchmarks.core import publish
from kbp.commands.common import say_written

HELP = "take a race's results into kbp and renew all tables"
EXAMPLES = (
    "pyramid_bpnet_small.digits runs/pyramid_bpnet_small.digits.seeds",
    "optimizers runs/optimizers.jsonl",
    "pruning runs/pruning.jsonl",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "entry",
        metavar="ENTRY",
        help=f"the zoo's entry that was raced, or: "
        f"{', '.join([*publish.RACES, *publish.CASES])}",
    )
    parser.add_argument(
        "race", metavar="RACE", help="the race's folder, or its .jsonl file"
    )


def run(options, console):
    """Run the command."""
    for path in publish.publish(options.entry, Path(options.race)):
        say_written(console, path)
