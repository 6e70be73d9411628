"""`benchmark`: latency of files, and the benchmarks of kbp."""

import ast
import pkgutil
from pathlib import Path

from rich.table import Table

from kbp.commands.shared.common import (
    add_data_dir,
    add_imports,
    positive,
    read_recipe,
    users_errors,
)

HELP = (
    "latency of .tflite files, or a benchmark of kbp: races between "
    "optimizers, methods or networks, a recipe's seeds, measurements of speed"
)
EXAMPLES = (
    "model_float32.tflite model_int8.tflite --threads 1 2",
    "recipe pyramid_bpnet_small.digits --seeds 5",
    "pruning DTM TFMOT --workers 2",
    "distribution '2 workers' --rounds 10",
    "startup",
)


def add_arguments(parser):
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="FILE_OR_BENCHMARK",
        help=".tflite files to measure in turns, or: recipe RECIPE, or: "
        "BENCHMARK [NAME ...], of its optimizers, methods, networks or cases "
        "only those that are named; a wrong name lists what there is",
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
        help="of races but a recipe's: trials at a time (default: 1)",
    )
    parser.add_argument(
        "--results",
        metavar="FILE",
        help="of races and measurements (default: runs/BENCHMARK.jsonl); "
        "trials that it holds do not run again",
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
    add_imports(parser)
    lines = [f"{name:15} {text}" for name, text in summaries().items()]
    parser.add_argument_group("benchmarks", "\n".join(lines))


def summaries() -> dict[str, str]:
    """Return what each benchmark is in one line, without importing any."""
    folder = Path(__file__).parent.parent / "benchmarks"
    names = {module.name for module in pkgutil.iter_modules([str(folder)])}
    return {
        name.replace("_", "-"): _summary(folder / name / "__init__.py")
        for name in sorted(names - {"core"})
    }


def _summary(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    return text.partition("\n")[0]


def run(options, console):
    """Run the command."""
    from kbp.benchmarks.core import registry

    name, *names = options.what
    if name.endswith(".tflite") or Path(name).exists():
        _latency(options, console)
        return
    registry.find(name).start(
        names,
        registry.Options(
            console=console,
            read_recipe=read_recipe,
            results=options.results,
            workdir=options.workdir,
            data_dir=options.data_dir,
            workers=options.workers,
            rounds=options.rounds,
            seeds=options.seeds,
            again=options.again,
        ),
    )


def _latency(options, console):
    from kbp import export
    from kbp._utils.machine import in_words, machine

    with users_errors():
        for path in options.what:
            export.audit(path)
        figures = export.benchmark(
            options.what, num_threads=options.threads, rounds=options.rounds
        )
    table = Table(
        caption=f"median and quartiles of {options.rounds} rounds on "
        + in_words(machine())
    )
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
