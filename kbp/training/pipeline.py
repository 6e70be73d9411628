"""The pipeline: train, prune, quantize, export, verify, report."""

import dataclasses
import resource
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import keras
from rich.console import Console

from kbp import export, quantization, sparsity
from kbp._utils.files import write_atomically
from kbp._utils.run_files import FLOAT32, INT8, MODEL, QUANTIZED_MODEL
from kbp.errors import UserError
from kbp.graph import plain
from kbp.inference import golden
from kbp.recipes.recipe import Recipe
from kbp.reports import report
from kbp.reports.stage import ResultTable, Stage
from kbp.tasks import Task, make_task
from kbp.training import checkpoint, distribution
from kbp.training.measuring import file_stages, keras_stage
from kbp.training.trainer import Trainer
from kbp.training.workdir import WorkDir


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
    console = console or Console()
    if not distribution.is_chief(recipe.training.strategy):
        run_as_worker(recipe, data_dir, console)
        return []
    folder = WorkDir(workdir, recipe, resume=resume)
    if not folder.finished:
        pipeline = Pipeline(recipe, folder, data_dir, console)
        with folder, pipeline.trainer.stopping:
            pipeline.run()
    stages = [Stage(**row) for row in folder.run["stages"]]
    console.print(report.result_table(stages, folder.run))
    for heading, table in folder.run.get("tables", {}).items():
        console.print(report.as_rich(heading, ResultTable(**table)))
    console.print(report.facts(folder.run))
    console.print(
        f"Everything is in {folder.path}/: open report.html there.",
        markup=False,
        soft_wrap=True,
    )
    return stages


def run_as_worker(
    recipe: Recipe, data_dir: str | Path | None, console: Console
) -> None:
    """Train as one of the chief's workers, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="kbp-worker-") as own:
        folder = WorkDir(Path(own) / "run", recipe, resume=False)
        pipeline = Pipeline(recipe, folder, data_dir, console)
        with folder, pipeline.trainer.stopping:
            pipeline.train()
    console.print("Trained. The results are where the chief runs.")


class Pipeline:
    """The steps of a run.

    Args:
        recipe: what to do.
        folder: for the results; `None` to train nothing, only compile.
        data_dir: folder of the data sets that are read from files.
        console: where progress goes.

    Raises:
        UserError: recipe, folder or data do not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: WorkDir | None,
        data_dir: str | Path | None,
        console: Console,
    ):
        self.recipe = recipe
        # Without a folder models are compiled and none is trained.
        self.folder = cast(WorkDir, folder)
        self.console = console
        self.strategy = distribution.create_strategy(recipe.training.strategy)
        distribution.check_batch_size(recipe.training.batch_size, self.strategy)
        self.task: Task = make_task(recipe, data_dir)
        self.check_steps()
        self.trainer = Trainer(self.task, self.folder, self.strategy, console)
        self.trainer.validation()  # whose parts may not fit the replicas
        if recipe.training.keep_best:
            self.check_keep_best()
        model = self.masked(self.task.build())  # wrong arguments show at once
        if folder:
            # Weights and the optimizer's three moments, in the checkpoints of
            # both stages and one that is being written.
            checkpoint = 4 * 4 * model.count_params()
            kept = 2 * (recipe.training.keep_checkpoints + 1)
            folder.check_space(kept * checkpoint + 10_000_000)

    def check_steps(self) -> None:
        """Raise a UserError if an epoch ends within an execution."""
        together = self.recipe.training.steps_per_execution
        if self.task.steps % together:
            raise UserError(
                f"training.steps_per_execution must divide the "
                f"{self.task.steps} steps of an epoch; received {together}"
            )

    def check_keep_best(self) -> None:
        """Raise a UserError if there is no best, or it would not be pruned."""
        if not len(self.task.splits.validation):
            raise UserError("training.keep_best needs validation examples")
        if self.recipe.sparsity.target:
            raise UserError(
                "training.keep_best would bring back weights from before they "
                "were pruned; set sparsity.target to 0"
            )

    def run(self) -> None:
        """Train, prune, quantize, export, measure, report."""
        start = time.perf_counter()
        trained, pruned, quantized = self.train()
        self.export(pruned, quantized)
        stages = self.measure(trained, pruned, quantized)
        run = self.folder.run
        run["stages"] = [dataclasses.asdict(stage) for stage in stages]
        run["kernel_sparsity"] = sparsity.kernel_sparsity(pruned)
        run["seconds"] = time.perf_counter() - start
        run["peak_memory_bytes"] = _peak_memory()
        run["metric"] = self.task.metric
        runner = export.Runner(self.folder.path / INT8)
        for name, text in self.task.calibrate(runner.predict).items():
            write_atomically(self.folder.path / name, text)
        report.write(
            self.folder.path, self.task, run, stages, self.int8_outputs
        )
        self.folder.finished = True

    def train(self) -> tuple[keras.Model, keras.Model, keras.Model]:
        """Return the model as trained, pruned, and quantized."""
        self.console.print(
            f"{self.task.describe()}; {distribution.describe(self.strategy)}"
        )
        with distribution.together(self.strategy):
            return self.stages()

    def stages(self) -> tuple[keras.Model, keras.Model, keras.Model]:
        """Train the float model, then the quantized one."""
        trained = self.fit()
        section = self.recipe.sparsity
        shrunk = bool(section.target) and section.granularity == "channel"
        if shrunk:
            pruned = sparsity.shrink(trained, multiple_of=section.multiple_of)
        else:
            pruned = sparsity.strip(trained)
        # The masks that are left stay while it trains on.
        return trained, pruned, self.quantize(pruned if shrunk else trained)

    def compiled(self) -> Iterator[tuple[str, keras.Model]]:
        """Return each stage with epochs: its name and its model, compiled."""
        recipe, trainer = self.recipe, self.trainer
        trained = self.masked(self.task.build())
        rounded = self.quantization_aware(trained)
        for stage, made, section, epochs in (
            ("train", trained, recipe.optimizer, recipe.training.epochs),
            (
                "quantize",
                rounded,
                recipe.quantization,
                recipe.quantization.epochs,
            ),
        ):
            if not epochs:
                continue
            model, _ = trainer.enter(stage, partial(_untrained, made))
            trainer.compile(model, section.learning_rate, epochs=1)
            yield stage, model

    def masked(self, model: keras.Model) -> keras.Model:
        """Give a model masks if the recipe asks for zeros."""
        section = self.recipe.sparsity
        if not section.target:
            return model
        try:
            return sparsity.apply_dtm(
                model, granularity=section.granularity, skip=section.skip
            )
        except ValueError as error:
            raise UserError(f"[sparsity] {error}") from error

    def fit(self) -> keras.Model:
        """Train the float model while its masks close."""
        section, schedule = self.recipe.sparsity, None
        if section.target:
            schedule = sparsity.DTMSchedule(
                section.target,
                begin=section.begin,
                end=section.end,
                budget=section.budget,
                multiple_of=section.multiple_of,
            )
        return self.trainer.fit(
            "train",
            lambda: self.masked(self.task.start(self.task.build())),
            epochs=self.recipe.training.epochs,
            learning_rate=self.recipe.optimizer.learning_rate,
            seed=2 * self.recipe.training.seed,
            schedule=schedule,
        )

    def quantize(self, trained: keras.Model) -> keras.Model:
        """Train on in fake eight bits, the masks fixed."""
        section = self.recipe.quantization
        return self.trainer.fit(
            "quantize",
            lambda: self.quantization_aware(trained),
            epochs=section.epochs,
            learning_rate=section.learning_rate,
            seed=2 * self.recipe.training.seed + 1,
        )

    def quantization_aware(self, trained: keras.Model) -> keras.Model:
        """Give a model fake quantization, and calibrate it."""
        section = self.recipe.quantization
        return quantization.quantize_aware(
            trained,
            self.task.calibration_batches(),
            calibration_batches=section.calibration_batches,
            skip=quantization.ATTENTION_OPS if section.float_attention else (),
        )

    def export(self, pruned: keras.Model, quantized: keras.Model) -> None:
        """Write the files that are deployed, and verify them."""
        path, section = self.folder.path, self.recipe.export
        checkpoint.save(pruned, path / MODEL)
        checkpoint.save(plain(quantized), path / QUANTIZED_MODEL)
        with self.console.status("Exporting and verifying ..."):
            if not (path / "saved_model").exists():
                export.to_saved_model(pruned, path / "saved_model")
            export.to_tflite(pruned, path / FLOAT32)
            audit = export.to_tflite(
                quantized, path / INT8, allow_float=section.allow_float
            )
            verification = export.verify(
                quantized, path / INT8, self.task.batches("test")
            )
            golden.write(path, pruned, path / INT8, self.task.inputs("test"))
        self.folder.run["verification"] = dataclasses.asdict(verification)
        self.folder.run["int8_operations"] = len(audit.operations)
        self.folder.run["float_operations"] = [
            f"{op.name} at {op.layer}" for op in audit.float_operations
        ]

    def measure(
        self, trained: keras.Model, pruned: keras.Model, quantized: keras.Model
    ) -> list[Stage]:
        """Return the rows of the result table."""
        path = self.folder.path
        rows = [
            keras_stage(name, model, self.task, path / file if file else None)
            for name, model, file in (
                ("trained", trained, None),
                ("pruned", pruned, MODEL),
                ("quantization-aware", quantized, QUANTIZED_MODEL),
            )
        ]
        files = {"float32 .tflite": FLOAT32, "int8 .tflite": INT8}
        with self.console.status("Measuring latency ..."):
            measured, self.int8_outputs = file_stages(
                {name: path / file for name, file in files.items()},
                self.task,
                num_threads=self.recipe.export.num_threads,
                rounds=self.recipe.export.benchmark_rounds,
            )
        return [*rows, *measured]


def _untrained(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """Return a model and the state of a training that has not begun."""
    return model, {}


def _peak_memory() -> int:
    """Return the largest resident size of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
