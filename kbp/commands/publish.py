"""`publish`: a race's results, into the zoo and every table."""

from pathlib import Path

from kbp.benchmarks import publish

HELP = "take a race's results into the zoo and renew all tables"
EXAMPLES = ("pyramid_bpnet_small.digits runs/pyramid_bpnet_small.digits.seeds",)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "entry", metavar="ENTRY", help="the entry that was raced"
    )
    parser.add_argument("race", metavar="FOLDER", help="the race's folder")


def run(options, console):
    """Run the command."""
    for path in publish.publish(options.entry, Path(options.race)):
        console.print(f"Written: {path}")
