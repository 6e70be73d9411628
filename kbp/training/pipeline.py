"""The pipeline: train, prune, quantize, export, verify, report."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import keras
from rich.console import Console
from rich.markup import escape

from kbp import export, sparsity
from kbp._utils.files import write_atomically
from kbp._utils.machine import peak_memory
from kbp._utils.run_files import FLOAT32, INT8, MODEL, QUANTIZED_MODEL
from kbp.data.lazy import Array
from kbp.errors import UserError
from kbp.graph import plain
from kbp.inference import golden
from kbp.recipes.recipe import Recipe
from kbp.reports import report
from kbp.reports.stage import Stage
from kbp.tasks import Task
from kbp.training import checkpoint, distribution, transfer
from kbp.training.compression import rounding
from kbp.training.compression.pruning import Pruning
from kbp.training.measuring import (
    file_stages,
    float_stages,
    keras_stage,
    outputs_of,
    post_training_stage,
)
from kbp.training.techniques.float_stage import FloatStage, check_trainings
from kbp.training.techniques.technique import asked
from kbp.training.trainer import Trainer
from kbp.training.workdir import WorkDir

# Below, models that begin with random weights have seldom learned their task.
FEW_STEPS = 500
# As trained, pruned, and quantized if it is.
Models = tuple[keras.Model, keras.Model, keras.Model | None]


class Pipeline:
    """The steps of a run.

    Args:
        recipe: what to do.
        folder: for the results; `None` to train nothing, only compile.
        make: `make() -> task`, called when the devices are set up.
        console: where progress goes.
        trainer: `trainer(task, folder, strategy, console)`, of the stages.

    Raises:
        UserError: recipe, folder or data do not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: WorkDir | None,
        make: Callable[[], Task],
        console: Console,
        trainer: Callable[..., Trainer] = Trainer,
    ):
        self.recipe = recipe
        # Without a folder models are compiled and none is trained.
        self.folder = cast(WorkDir, folder)
        self.console = console
        self.strategy = distribution.create_strategy(recipe.training.strategy)
        distribution.check_batch_size(recipe.training.batch_size, self.strategy)
        self.task = make()
        self.warnings = self.task.warnings()
        self.problems: tuple[str, ...] = ()
        self.check_steps()
        check_trainings(self.task)
        self.trainer = trainer(self.task, self.folder, self.strategy, console)
        self.trainer.validation()  # whose parts may not fit the replicas
        model = self.task.build()  # wrong arguments show at once
        for technique in asked(recipe):
            technique.check(self.task, model)
        if recipe.training.frozen_epochs:
            transfer.freeze(model)
        rounding.check_named_layers(model, recipe)
        self.pruning = Pruning(self.task, model, folder, console)
        model = self.pruning.masked(model)
        if folder:
            # Weights and the optimizer's three moments, in the checkpoints of
            # both stages and one that is being written.
            checkpoint = 4 * 4 * model.count_params()
            kept = 2 * (recipe.training.keep_checkpoints + 1)
            trainings = max(recipe.training.starts, recipe.ensemble.members)
            folder.check_space(trainings * kept * checkpoint + 10_000_000)

    def check_steps(self) -> None:
        """Raise a UserError if an epoch ends within steps that are one."""
        recipe = self.recipe
        for key, together in {
            "training.steps_per_execution": recipe.training.steps_per_execution,
            "optimizer.gradient_accumulation_steps": (
                recipe.optimizer.gradient_accumulation_steps
            ),
        }.items():
            if self.task.steps % together:
                raise UserError(
                    f"{key} must divide the {self.task.steps} steps of an "
                    f"epoch; received {together}"
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
        run["channels"] = [*map(sparsity.channel_count, (trained, pruned))]
        run["left_out"] = self.pruning.left_out
        run["seconds"] = time.perf_counter() - start
        run["peak_memory_bytes"] = peak_memory()
        file = self.folder.path / (INT8 if quantized else FLOAT32)
        run["footprint"] = dataclasses.asdict(export.footprint(file))
        run["metric"] = self.task.metric
        late = self.task.late_warnings()
        run["warnings"] = [*self.warnings, *late, *self.problems]
        self.report(run, stages)
        self.folder.finished = True

    def report(self, run: dict[str, Any], stages: list[Stage]) -> None:
        """Write the report and what it is made of."""
        path = self.folder.path
        file = INT8 if self.recipe.quantization.enabled else FLOAT32
        predict = export.Runner(path / file).predict
        for name, text in self.task.calibrate(predict).items():
            write_atomically(path / name, text)
        run["data"] = self.task.describe()
        if words := self.task.compared_with:
            self.console.print(f"Fitting {words} to compare with ...")
        report.write(path, self.task, run, stages, self.outputs)

    def write_again(
        self,
        run: dict[str, Any],
        pruned: keras.Model,
        quantized: keras.Model | None,
    ) -> None:
        """Write a finished run's files; its `run` has what was measured."""
        self.export(pruned, quantized)
        file = INT8 if quantized else FLOAT32
        self.outputs = outputs_of(self.folder.path / file, self.task)
        self.report(dict(run), [Stage(**row) for row in run["stages"]])

    def train(self) -> Models:
        """Return the model as trained, pruned, and quantized if it is."""
        first, *more = self.task.describe().splitlines()
        devices = distribution.describe(self.strategy)
        for line in (f"{first}; {devices}", *more):
            self.console.print(escape(line), soft_wrap=True)
        if said := self.pruning.left_out:
            self.console.print(said, markup=False)
        if few := self.few_steps():
            self.console.print(few, markup=False, highlight=False)
        for sentence in self.warnings:
            self.console.print(f"[yellow]Warning:[/] {escape(sentence)}")
        self.pruning.keep(self.folder)
        with distribution.together(self.strategy):
            return self.stages()

    def few_steps(self) -> str:
        """Say how many steps there are, and what makes more; "" if many."""
        section, steps = self.recipe.training, self.task.steps
        steps = max(1, steps // max(1, self.recipe.federated.clients))
        total = (section.frozen_epochs + section.epochs) * steps
        if not 0 < total < FEW_STEPS:
            return ""
        said = (
            f"Few training steps: {steps} in an epoch, {total} in all. If the "
            "model has not learned enough, raise training.epochs ("
            f"{-(-FEW_STEPS // steps)} make {FEW_STEPS} steps)"
        )
        if section.batch_size > 8:
            said += f" or lower training.batch_size ({section.batch_size})"
        return f"{said}."

    def stages(self) -> Models:
        """Train the float model, then the quantized one."""
        trained = self.fit()
        pruned = self.pruning.pruned(trained)
        if not self.recipe.quantization.enabled:
            return trained, pruned, None
        # The masks that are left stay while it trains on.
        shrunk = self.pruning.removes_channels
        return trained, pruned, self.quantize(pruned if shrunk else trained)

    def compiled(self) -> Iterator[tuple[str, keras.Model]]:
        """Return each stage with epochs: its name and its model, compiled."""
        recipe, trainer = self.recipe, self.trainer
        trained = self.pruning.masked(self.task.build())
        rounded = None
        if recipe.quantization.enabled:
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
            if not epochs or not made:
                continue
            own = trainer.techniques(stage, epochs=1, seed=0)
            found = partial(_untrained, made)
            model, _ = trainer.placement.enter(stage, found)
            trainer.compile(model, section.learning_rate, 1, own)
            yield stage, model

    def fit(self) -> keras.Model:
        """Train the float model while its masks close."""
        return FloatStage(
            self.trainer, self.pruning.begin, self.pruning.schedule
        ).fit()

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
        batches = self.task.calibration_batches()
        return rounding.quantization_aware(trained, self.recipe, batches)

    def export(
        self, pruned: keras.Model, quantized: keras.Model | None
    ) -> None:
        """Write the files that are deployed, and verify the last of them."""
        path, run = self.folder.path, self.folder.run
        checkpoint.save(plain(pruned), path / MODEL)
        with self.console.status("Exporting and verifying ..."):
            if not (path / "saved_model").exists():
                export.to_saved_model(pruned, path / "saved_model")
            made_of = self.task.metadata().made_of
            made_of = partial(made_of, versions=run["versions"])
            metadata = made_of(path / MODEL)
            audit = export.to_tflite(pruned, path / FLOAT32, metadata=metadata)
            last, file = pruned, FLOAT32
            if quantized:
                checkpoint.save(plain(quantized), path / QUANTIZED_MODEL)
                audit = export.to_tflite(
                    quantized,
                    path / INT8,
                    allow_float=self.recipe.export.allow_float,
                    metadata=made_of(path / MODEL, path / QUANTIZED_MODEL),
                )
                last, file = quantized, INT8
            verification = export.verify(
                last,
                path / file,
                self.task.batches("test"),
                original=pruned if quantized else None,
            )
            inputs = self.task.inputs("test")
            if quantized and isinstance(inputs, Array):
                golden.write(path, pruned, path / INT8, inputs)
            for name, content in self.task.files().items():
                write_atomically(path / name, content)
            self.task.observe_training(partial(pruned.predict, verbose=0))
        self.problems = verification.problems
        run["verification"] = dataclasses.asdict(verification)
        run["operations"] = len(audit.operations)
        run["float_operations"] = [
            f"{op.name} at {op.layer}" for op in audit.float_operations
        ]

    def measure(
        self,
        trained: keras.Model,
        pruned: keras.Model,
        quantized: keras.Model | None,
    ) -> list[Stage]:
        """Return the rows of the result table."""
        path, whole = self.folder.path, self.pruning.whole_of(trained)
        rows = float_stages(self.task, trained, pruned, path / MODEL)
        if quantized:
            if self.recipe.quantization.epochs:
                rounded = pruned if whole else trained
                rows.append(post_training_stage(rounded, self.task))
            size = (path / QUANTIZED_MODEL).stat().st_size
            rows.append(
                keras_stage("quantization-aware", quantized, self.task, size)
            )
        files = {"float32 .tflite": path / FLOAT32, "int8 .tflite": path / INT8}
        if not quantized:
            del files["int8 .tflite"]
        with self.console.status("Measuring latency ..."):
            measured, self.outputs = file_stages(files, self.task, whole)
        return [*rows, *measured]


def _untrained(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """Return a model and the state of a training that has not begun."""
    return model, {}
