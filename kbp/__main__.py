"""The command line: `python -m kbp`, also installed as `kbp`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kbp import zoo
from kbp.errors import UserError
from kbp.training import Recipe

_TRAIN_EXAMPLE = """examples:
  {program}                              the embedded default recipe
  {program} bp_transformer_small.digits  another entry of the zoo
  {program} my.toml --workdir runs/mine --set training.epochs=30
  {program} my.toml --workdir runs/mine --resume
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def main(
    arguments: Sequence[str] | None = None, *, program: str = "kbp"
) -> int:
    """Run one command and return the exit status.

    The status is 2 if the input is wrong, with one line on standard error, 1
    if a training diverged, and 130 if it was interrupted.
    """
    options = _parser(program).parse_args(arguments)
    try:
        options.command(options, Console())
    except (UserError, OSError) as error:
        return _say(program, error, 2)
    except FloatingPointError as error:
        return _say(program, error, 1)
    except KeyboardInterrupt:
        return _say(program, "interrupted", 130)
    return 0


def _say(program, error, status):
    message = " ".join(str(error).split())
    print(f"{program}: error: {message}", file=sys.stderr)
    return status


def _train(options, console):
    from kbp.training import run

    recipe, name = _read_recipe(options.recipe)
    settings = list(options.set)
    if options.strategy:
        settings.append(f"training.strategy={options.strategy}")
    run(
        recipe.with_settings(settings),
        options.workdir or Path("runs") / name,
        data_dir=_data_dir(options),
        resume=options.resume,
        console=console,
    )


def _list(options, console):
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


def _evaluate(options, console):
    from kbp.training import Task, evaluate

    path = Path(options.path)
    files = evaluate.files_of(path)
    recipe = (
        _read_recipe(options.recipe)[0]
        if options.recipe
        else evaluate.recipe_of(path)
    )
    task = Task(recipe, _data_dir(options))
    table = Table(
        caption=f"{len(task.splits.test)} test examples of {recipe.data.name}"
    )
    table.add_column("file")
    table.add_column("accuracy", justify="right")
    for file in files:
        table.add_row(file.name, f"{evaluate.accuracy(file, task):.2%}")
    console.print(table)


def _export(options, console):
    from kbp import export
    from kbp.training import evaluate

    source, out = Path(options.path), Path(options.out)
    if source.is_dir():
        quantized = options.dtype == "int8"
        source /= "model_quantized.keras" if quantized else "model.keras"
    if out.exists():
        raise UserError(f"{out}: exists. Choose another name.")
    model = evaluate.load_keras(source)
    with _library_errors():
        if out.suffix == ".tflite":
            audit = export.to_tflite(
                model,
                out,
                dtype=options.dtype,
                batch_size=options.batch_size,
                allow_float=options.allow_float,
            )
            console.print(_audit_summary(audit))
        else:
            export.to_saved_model(model, out)
    console.print(f"Written: {out}")


def _audit(options, console):
    from kbp.export import audit

    with _library_errors():
        result = audit(options.path, allow_float=options.allow_float)
    table = Table(title=str(options.path))
    for column in ("operation", "inputs", "outputs", "tensor"):
        table.add_column(column, overflow="fold")
    for operation in result.operations:
        table.add_row(
            operation.name,
            " ".join(operation.inputs),
            " ".join(operation.outputs),
            operation.layer,
            style="yellow" if operation.is_float else None,
        )
    console.print(table)
    console.print(_audit_summary(result))


def _benchmark(options, console):
    if options.what[0] == "recipe":
        from kbp.benchmarks import recipe_race

        if len(options.what) != 2:
            raise UserError("benchmark recipe takes one recipe")
        recipe, name = _read_recipe(options.what[1])
        folder = Path(options.workdir or Path("runs") / f"{name}.seeds")
        recipe_race.race(
            recipe,
            folder,
            seeds=options.seeds,
            data_dir=_data_dir(options),
            console=console,
        )
        return
    from kbp.export import benchmark

    with _library_errors():
        figures = benchmark(
            options.what, num_threads=options.threads, rounds=options.rounds
        )
    table = Table(
        caption=f"median of {options.rounds} rounds, quartiles, "
        f"{options.threads} thread(s), batch of the file"
    )
    table.add_column("file")
    for column in ("size", "median", "quartiles", "speed-up"):
        table.add_column(column, justify="right")
    for figure in figures:
        table.add_row(
            figure.path,
            f"{Path(figure.path).stat().st_size / 1e3:,.0f} kB",
            f"{figure.median:.3f} ms",
            f"{figure.low:.3f} - {figure.high:.3f}",
            f"{figures[0].median / figure.median:.2f}x",
        )
    console.print(table)


def _publish(options, console):
    from kbp.benchmarks import publish

    for path in publish.publish(options.entry, Path(options.race)):
        console.print(f"Written: {path}")


class _library_errors:  # noqa: N801
    """Say what kbp's own ValueErrors say in one line, as a user's error."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError | RuntimeError):
            raise UserError(str(error)) from error


def _audit_summary(audit):
    floats = len(audit.float_operations)
    return (
        f"{len(audit.operations)} operations, {floats} of them float; "
        f"{audit.parameters:,} parameters, {audit.nonzero:,} not zero; "
        f"{audit.size / 1e3:,.0f} kB"
    )


def _read_recipe(name):
    """Return a recipe and its name, from a file or the zoo."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists() or len(path.parts) > 1:
        path = path / "recipe.toml" if path.is_dir() else path
        short = path.parent.name if path.name == "recipe.toml" else path.stem
        return Recipe.read(path), short or "run"
    return zoo.find(name).recipe, name


def _data_dir(options):
    return options.data_dir or os.environ.get("KBP_DATA") or None


def _parser(program):
    parser = _Parser(
        prog=program,
        description="Train, prune, quantize and ship Keras models.",
    )
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=_Parser
    )
    _add_train(commands, program)
    _add(commands, program, "list", _list, "list the zoo's entries", [""])
    _add_evaluate(commands, program)
    _add_export(commands, program)
    _add_audit(commands, program)
    _add_benchmark(commands, program)
    _add_publish(commands, program)
    return parser


def _add_train(commands, program):
    program = "train.py" if program == "train.py" else f"{program} train"
    parser = commands.add_parser(
        "train",
        prog=program,
        help="walk the whole road of a recipe",
        description=(
            "Train a recipe, prune and quantize the model while it trains, "
            "export it to SavedModel and .tflite, verify the files and write "
            "a report."
        ),
        epilog=_TRAIN_EXAMPLE.format(program=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_train)
    parser.add_argument(
        "recipe",
        nargs="?",
        default=zoo.DEFAULT,
        metavar="RECIPE",
        help="a TOML file or an entry of the zoo (default: %(default)s)",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder for everything the run makes (default: runs/RECIPE)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key of the recipe; may be given again",
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="auto, one_device or mirrored; sets training.strategy",
    )
    _add_data_dir(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the unfinished run in the folder, or show the finished",
    )


def _add_evaluate(commands, program):
    parser = _add(
        commands,
        program,
        "evaluate",
        _evaluate,
        "test accuracy of a run's files, or of one file",
        [
            "runs/pyramid_bpnet_small.digits",
            "model_int8.tflite --recipe my.toml",
        ],
    )
    parser.add_argument(
        "path",
        metavar="WORKDIR_OR_FILE",
        help="folder of a run, a .keras or a .tflite file",
    )
    parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="whose data to test on (default: that of the run's folder)",
    )
    _add_data_dir(parser)


def _add_export(commands, program):
    parser = _add(
        commands,
        program,
        "export",
        _export,
        "write a .keras model as .tflite or SavedModel",
        [
            "runs/pyramid_bpnet_small.digits out.tflite --dtype int8",
            "model.keras out_saved_model",
        ],
    )
    parser.add_argument(
        "path", metavar="WORKDIR_OR_FILE", help="a run's folder, or .keras file"
    )
    parser.add_argument(
        "out", metavar="OUT", help="NAME.tflite, or a folder for a SavedModel"
    )
    parser.add_argument("--dtype", choices=("float32", "int8"))
    parser.add_argument(
        "--batch-size",
        type=_positive,
        default=1,
        metavar="N",
        help="examples in one call of a .tflite file (default: 1)",
    )
    parser.add_argument(
        "--allow-float",
        nargs="*",
        default=(),
        metavar="OP",
        help="operations that may stay float in an int8 file",
    )


def _add_audit(commands, program):
    parser = _add(
        commands,
        program,
        "audit",
        _audit,
        "list the operations of a .tflite file with their types",
        ["model_int8.tflite", "model_int8.tflite --allow-float SOFTMAX"],
    )
    parser.add_argument("path", metavar="FILE.tflite")
    parser.add_argument(
        "--allow-float",
        nargs="*",
        metavar="OP",
        help="fail if another operation is float; without names: if any is",
    )


def _add_benchmark(commands, program):
    parser = _add(
        commands,
        program,
        "benchmark",
        _benchmark,
        "latency of .tflite files; a recipe over several seeds",
        [
            "model_float32.tflite model_int8.tflite --threads 1",
            "recipe pyramid_bpnet_small.digits --seeds 5",
        ],
    )
    parser.add_argument(
        "what",
        nargs="+",
        metavar="FILE.tflite",
        help="files to measure in turns, or: recipe RECIPE",
    )
    parser.add_argument("--threads", type=_positive, default=1, metavar="N")
    parser.add_argument("--rounds", type=_positive, default=30, metavar="N")
    parser.add_argument(
        "--seeds",
        type=_positive,
        default=5,
        metavar="N",
        help="runs of a recipe, with training.seed 0, 1, ... (default: 5)",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="folder of a recipe's runs (default: runs/RECIPE.seeds)",
    )
    _add_data_dir(parser)


def _add_publish(commands, program):
    parser = _add(
        commands,
        program,
        "publish",
        _publish,
        "take a race's results into the zoo and renew all tables",
        ["pyramid_bpnet_small.digits runs/pyramid_bpnet_small.digits.seeds"],
    )
    parser.add_argument(
        "entry", metavar="ENTRY", help="the entry that was raced"
    )
    parser.add_argument("race", metavar="FOLDER", help="the race's folder")


def _add(commands, program, name, command, text, examples):
    lines = "\n".join(f"  {program} {name} {x}".rstrip() for x in examples)
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"examples:\n{lines}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _add_data_dir(parser):
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of the data sets in files (default: $KBP_DATA)",
    )


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more: {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
