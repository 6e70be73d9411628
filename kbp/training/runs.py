"""Runs: a recipe or a task from data to report, in a folder."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
from rich.console import Console

from kbp._utils.files import copy, temporary_folder
from kbp._utils.process.stderr import suppress_records
from kbp._utils.run_files import MODEL, QUANTIZED_MODEL
from kbp.data.lazy import named_failures
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.reports import report
from kbp.reports.result_table import ResultTable
from kbp.reports.stage import Stage
from kbp.tasks import Task, make_task
from kbp.training import checkpoint, distribution
from kbp.training.pipeline import Pipeline
from kbp.training.trainer import Trainer
from kbp.training.workdir import WorkDir, resumable


def run(
    recipe: Recipe,
    workdir: str | Path,
    *,
    data_dir: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> list[Stage]:
    """Run a recipe from data to report and leave everything in a folder.

    Args:
        recipe: what to do.
        workdir: folder for the results; see `WorkDir` for who may write.
        data_dir: folder of the data sets that are read from files.
        resume: continue the unfinished run in `workdir` from its last
            checkpoint, or show the finished one.
        console: where progress and the result table go.

    Returns:
        The rows of the result table.

    Raises:
        UserError: recipe, folder or data do not fit; nothing was written.
        FloatingPointError: the gradients became infinite or NaN, and did so
            again at a tenth of the learning rate.

    Example:
    >>> import io, tempfile
    >>> import kbp
    >>> from rich.console import Console
    >>> recipe = kbp.recipes.Recipe.parse(
    ...     {
    ...         "model": {"width": 8, "num_scales": 2},
    ...         "data": {"image_size": 8},
    ...         "training": {"epochs": 0},
    ...         "quantization": {"epochs": 0},
    ...         "export": {"benchmark_rounds": 1},
    ...     }
    ... )
    >>> console = Console(file=io.StringIO())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stages = kbp.training.run(recipe, folder, console=console)
    >>> [stage.name for stage in stages][-2:]
    ['float32 .tflite', 'int8 .tflite']
    """
    with resumable(workdir, resume=resume):
        return run_task(
            recipe,
            partial(make_task, recipe, data_dir),
            workdir,
            resume=resume,
            console=console or Console(),
        )


def run_task(
    recipe: Recipe,
    make: Callable[[], Task],
    workdir: str | Path,
    *,
    resume: bool,
    console: Console,
    trainer: Callable[..., Trainer] | None = None,
) -> list[Stage]:
    """Run a task from data to report, see `run`.

    Args:
        recipe: what to do.
        make: `make() -> task`, called when the devices are set up.
        workdir: folder for the results.
        resume: continue an unfinished run, or show a finished one.
        console: where progress and the result table go.
        trainer: see `Pipeline`; by default the recipe's.
    """
    if not distribution.is_chief(recipe.training.strategy):
        run_as_worker(recipe, make, console)
        return []
    folder = WorkDir(workdir, recipe, resume=resume)
    if folder.finished:
        console.print(
            f"{folder.path} was finished before: nothing is trained.",
            markup=False,
            soft_wrap=True,
        )
        bring_back(folder, make, console)
    else:
        trainer = trainer or trainer_of(recipe)
        pipeline = Pipeline(recipe, folder, make, console, trainer)
        # Every stage is another model, and traced once.
        with (
            folder,
            pipeline.trainer.stopping,
            suppress_records("tensorflow", "triggered tf.function retracing"),
            # It needs room for temporary files, as what is said next.
            suppress_records("tensorflow", "AutoGraph could not transform"),
            named_failures(
                f"Mend it and call it again with the same `workdir=`, "
                f"{folder.path}, and `resume=True`, to go on from the last "
                "checkpoint."
            ),
        ):
            pipeline.run()
    stages = [Stage(**row) for row in folder.run["stages"]]
    console.print(report.result_table(stages, folder.run))
    console.print()
    for heading, table in folder.run.get("tables", {}).items():
        console.print(report.as_rich(heading, ResultTable(**table)))
        console.print()
    console.print(report.facts(folder.run), markup=False)
    console.print(
        f"Everything is in {folder.path}/: open report.html there.",
        markup=False,
        soft_wrap=True,
    )
    return stages


def trainer_of(recipe: Recipe) -> Callable[..., Trainer]:
    """Return what trains a recipe's stages.

    Raises:
        UserError: it has clients, and Flower is not installed.
    """
    if not recipe.federated.clients:
        return Trainer
    # Flower is an extra, which others do without.
    from kbp.federated.trainer import FederatedTrainer

    return FederatedTrainer


def bring_back(
    folder: WorkDir, make: Callable[[], Task], console: Console
) -> None:
    """Make the files of a finished run again that are missing.

    They are made in another folder, from the Keras files or a copy of the
    checkpoints, and taken over where their bytes are those of the run.

    Raises:
        UserError: files have changed, or cannot be made again.
    """
    names = folder.lost()
    if not names:
        return
    console.print(
        f"{folder.path}: missing, and made again: {', '.join(names)} ...",
        markup=False,
        soft_wrap=True,
    )
    left, problem = names, "their bytes are others on this machine"
    # A model that is made anew may get other names for its parts.
    for load in (load_models, load_checkpoints):
        with temporary_folder("kbp-again-") as own:
            again = WorkDir(own / "run", folder.recipe, resume=False)
            silent = Console(file=io.StringIO())
            pipeline = Pipeline(folder.recipe, again, make, silent)
            with again, suppress_records("tensorflow", "triggered tf.function"):
                again.run["versions"] = folder.run["versions"]
                try:
                    models = load(folder, pipeline)
                    pipeline.write_again(folder.run, *models)
                except UserError as error:
                    problem = str(error)
            left = folder.bring_back(left, again.path)
        if not left:
            return
    raise UserError(
        f"{folder.path}: {', '.join(left)}: missing, and cannot be made "
        f"again: {problem.rstrip('.')}. Run the recipe in another `workdir=`."
    )


def load_models(
    folder: WorkDir, pipeline: Pipeline
) -> tuple[keras.Model, keras.Model | None]:
    """Return a run's models, from the files that hold them."""
    copy_metrics(folder, pipeline.folder)
    names = [MODEL]
    if folder.recipe.quantization.enabled:
        names.append(QUANTIZED_MODEL)
    if absent := [x for x in names if not (folder.path / x).is_file()]:
        raise UserError(f"{absent[0]} is missing")
    pruned, *more = (checkpoint.load(folder.path / name) for name in names)
    return pruned, more[0] if more else None


def load_checkpoints(
    folder: WorkDir, pipeline: Pipeline
) -> tuple[keras.Model, keras.Model | None]:
    """Return a run's models, from its last checkpoints."""
    again = pipeline.folder
    copy_metrics(folder, again)
    again.run["slower"] = dict(folder.run["slower"])
    if (folder.path / "checkpoints").is_dir():
        for file in (folder.path / "checkpoints").iterdir():
            if file.is_file():
                copy(file, again.path / "checkpoints" / file.name)
    pipeline.trainer.trains = False
    _, pruned, quantized = pipeline.train()
    return pruned, quantized


def copy_metrics(folder: WorkDir, again: WorkDir) -> None:
    """Copy what the report's curves and maps are made of."""
    for name in ("metrics.csv", "gradients.csv", "activations.csv"):
        if (folder.path / name).is_file():
            copy(folder.path / name, again.path / name)


def run_as_worker(
    recipe: Recipe, make: Callable[[], Task], console: Console
) -> None:
    """Train as one of the chief's workers, and leave nothing behind."""
    with temporary_folder("kbp-worker-") as own:
        folder = WorkDir(own / "run", recipe, resume=False)
        pipeline = Pipeline(recipe, folder, make, console)
        with folder, pipeline.trainer.stopping:
            pipeline.train()
    console.print("Trained. The results are where the chief runs.")
