"""`publish`: a benchmark's results, into kbp and every table."""

from pathlib import Path

from kbp.commands.shared.common import say_written

HELP = "copy a benchmark's results into kbp and renew all tables"
EXAMPLES = (
    "pyramid_bpnet_small.digits runs/pyramid_bpnet_small.digits.seeds",
    "pruning runs/pruning.jsonl",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the zoo's entry whose recipe ran, or the benchmark, see: "
        "benchmark --help",
    )
    parser.add_argument(
        "results",
        metavar="RESULTS",
        help="the folder of the recipe's runs, or the .jsonl file",
    )


def run(options, console):
    """Run the command."""
    from kbp.benchmarks.core.publish import publish

    for path in publish(options.name, Path(options.results)):
        say_written(console, path)
