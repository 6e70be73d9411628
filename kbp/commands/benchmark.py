"""`benchmark`: latency of files, and the races."""

from pathlib import Path

from rich.table import Table

from kbp import export
from kbp._utils.files import write_atomically
from kbp.benchmarks.core.publish import CASES, RACES
from kbp.benchmarks.recipe import race as recipe_race
from kbp.commands.common import (
    add_data_dir,
    positive,
    read_recipe,
    users_errors,
)
from kbp.errors import UserError

UNTIMED = ("optimizers", "forecasting")  # races without files
HELP = (
    "latency of .tflite files; races: a recipe's seeds, optimizers, pruning, "
    "quantization, segmentation, forecasting; measurements: applications, "
    "step-time, distribution"
)
EXAMPLES = (
    "model_float32.tflite model_int8.tflite --threads 1 2",
    "recipe pyramid_bpnet_small.digits --seeds 5",
    "optimizers --workers 2",
    "pruning DTM TFMOT --workers 2",
    "quantization attention --workers 2",
    "segmentation --workers 2",
    "forecasting ridge BP-Transformer --workers 2",
    "step-time",
    "distribution '2 workers' --rounds 10",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="FILE_OR_RACE",
        help=".tflite files to measure in turns, or: recipe RECIPE, or: "
        "optimizers [NAME ...], or: pruning [METHOD ...], or: quantization "
        "[NETWORK ...], or: segmentation [NETWORK ...], or: forecasting "
        "[METHOD ...], or: applications [NETWORK ...], or: step-time "
        "[CASE ...], or: distribution [CASE ...]",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        nargs="+",
        default=[1],
        metavar="N",
        help="of files: threads of LiteRT, one or several numbers (default: 1)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=30,
        metavar="N",
        help="of files, races with files and measurements: rounds in which "
        "each takes its turn (default: 30)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=5,
        metavar="N",
        help="of a recipe: runs, with training.seed 0, 1, ... (default: 5)",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="of races but a recipe's: trainings at a time (default: 1)",
    )
    parser.add_argument(
        "--results",
        metavar="FILE",
        help="of races and measurements (default: runs/RACE.jsonl); trainings "
        "that it holds are not run again",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="of races with files: measure latencies though they are known",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="of a recipe: folder of its runs (default: runs/RECIPE.seeds)",
    )
    add_data_dir(parser)


def run(options, console):
    """Run the command."""
    name = options.what[0]
    commands = {
        "recipe": _race,
        **dict.fromkeys(RACES, _trials),
        **dict.fromkeys(CASES, _cases),
    }
    commands.get(name, _latency)(options, console)


def _trials(options, console):
    name, *names = options.what
    race, report = RACES[name]
    file = Path(options.results or f"runs/{name}.jsonl")
    plot = file.with_suffix(".svg")
    if plot.exists() and not file.exists():
        raise UserError(f"{plot}: exists, and would be written over.")
    timing = {"rounds": options.rounds, "again": options.again}
    race.race(
        file,
        names=names,
        data_dir=options.data_dir,
        workers=options.workers,
        console=console,
        **({} if name in UNTIMED else timing),
    )
    head, results = race.read(file)
    write_atomically(plot, report.plot(head, results))
    table = report.markdown_table(head, results)
    console.print(table, markup=False, highlight=False)


def _cases(options, console):
    name, *names = options.what
    file = Path(options.results or f"runs/{name.replace('-', '_')}.jsonl")
    CASES[name].race(file, names=names, rounds=options.rounds, console=console)


def _race(options, console):
    if len(options.what) != 2:
        raise UserError("benchmark recipe takes one recipe")
    recipe, name = read_recipe(options.what[1])
    recipe_race.race(
        recipe,
        Path(options.workdir or Path("runs") / f"{name}.seeds"),
        seeds=options.seeds,
        data_dir=options.data_dir,
        console=console,
    )


def _latency(options, console):
    with users_errors():
        figures = export.benchmark(
            options.what, num_threads=options.threads, rounds=options.rounds
        )
    table = Table(caption=f"median and quartiles of {options.rounds} rounds")
    table.add_column("file")
    for column in ("size", "threads", "median", "quartiles", "speed-up"):
        table.add_column(column, justify="right")
    for figure in figures:
        table.add_row(
            figure.path,
            f"{figure.size / 1e3:,.0f} kB",
            str(figure.num_threads),
            f"{figure.median:.3f} ms",
            f"{figure.low:.3f} - {figure.high:.3f}",
            f"{figures[0].median / figure.median:.2f}x",
        )
    console.print(table)
