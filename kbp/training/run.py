"""The road, end to end: train, prune, quantize, export, verify, report."""

import dataclasses
import resource
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from kbp import export, quantization, sparsity
from kbp.errors import UserError
from kbp.graph import flatten, plain, unwrapped
from kbp.optimizers import HybridOptimizer
from kbp.training import checkpoint, distribution, golden, report
from kbp.training.callbacks import (
    Callbacks,
    Checkpoint,
    FiniteLoss,
    KeepBest,
    MetricsLog,
)
from kbp.training.checkpoint import Checkpoints
from kbp.training.recipe import Recipe
from kbp.training.schedule import decay_kernels_alone, warmup_cosine
from kbp.training.stage import Stage
from kbp.training.stopping import Stopping
from kbp.training.tasks import make_task
from kbp.training.workdir import WorkDir

FLOAT_FILE = "model_float32.tflite"
INT8_FILE = "model_int8.tflite"


def run(
    recipe: Recipe,
    workdir: str | Path,
    *,
    data_dir: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> list[Stage]:
    """Walk the whole road of a recipe and leave everything in a folder.

    Args:
        recipe: what to do.
        workdir: folder for the results; see `WorkDir` for who may write.
        data_dir: folder of the data sets that are read from files.
        resume: continue the unfinished run in `workdir` after its last whole
            epoch, or show the finished one.
        console: where progress and the result table go.

    Returns:
        The rows of the result table.

    Raises:
        UserError: recipe, folder or data do not fit; nothing was written.
        FloatingPointError: the loss became infinite or NaN.
    """
    console = console or Console()
    folder = WorkDir(workdir, recipe, resume=resume)
    if not folder.finished:
        road = Road(recipe, folder, data_dir, console)
        with folder, road.stopping:
            road.walk()
    stages = [Stage(**row) for row in folder.run["stages"]]
    console.print(report.result_table(stages, folder.run))
    console.print(report.facts(folder.run))
    console.print(f"Everything is in {folder.path}/: open report.html there.")
    return stages


class Road:
    """The steps of a run.

    Each training leaves a checkpoint behind after every epoch, and where it is
    asked to stop, and goes on from it as if nothing had been.
    """

    def __init__(self, recipe, folder, data_dir, console):
        self.recipe = recipe
        self.folder = folder
        self.console = console
        self.stopping = Stopping()
        self.strategy = distribution.create_strategy(recipe.training.strategy)
        distribution.check_batch_size(recipe.training.batch_size, self.strategy)
        self.task = make_task(recipe, data_dir)
        if recipe.training.keep_best:
            self.check_keep_best()
        self.masked(self.task.build())  # wrong arguments show at once

    def check_keep_best(self) -> None:
        """Raise a UserError if there is no best, or it would not be pruned."""
        if not len(self.task.splits.validation):
            raise UserError("training.keep_best needs validation examples")
        if self.recipe.sparsity.target:
            raise UserError(
                "training.keep_best would bring back weights from before they "
                "were pruned; set sparsity.target to 0"
            )

    def walk(self) -> None:
        """Train, prune, quantize, export, measure, report."""
        start = time.perf_counter()
        self.console.print(
            f"{self.task.describe()}; {distribution.describe(self.strategy)}"
        )
        trained = self.train()
        section = self.recipe.sparsity
        shrunk = bool(section.target) and section.granularity == "channel"
        if shrunk:
            pruned = sparsity.shrink(trained, multiple_of=section.multiple_of)
        else:
            pruned = sparsity.strip(trained)
        # The masks that are left stay while it trains on.
        quantized = self.quantize(pruned if shrunk else trained)
        self.export(pruned, quantized)
        stages = self.measure(trained, pruned, quantized)
        run = self.folder.run
        run["stages"] = [dataclasses.asdict(stage) for stage in stages]
        run["kernel_sparsity"] = sparsity.kernel_sparsity(pruned)
        run["seconds"] = time.perf_counter() - start
        run["peak_memory_bytes"] = _peak_memory()
        run["metric"] = self.task.metric
        report.write(self.folder, self.task, stages, self.int8_outputs)
        self.folder.finished = True

    def masked(self, model: keras.Model) -> keras.Model:
        """Give a model masks if the recipe asks for zeros."""
        with self.strategy.scope():
            section = self.recipe.sparsity
            if not section.target:
                return model
            try:
                return sparsity.apply_dtm(
                    model, granularity=section.granularity, skip=section.skip
                )
            except ValueError as error:
                raise UserError(f"[sparsity] {error}") from error

    def train(self) -> keras.Model:
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
        return self.fit(
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
        skip = quantization.PRODUCTS if section.float_products else ()
        return self.fit(
            "quantize",
            lambda: quantization.quantize_aware(
                trained,
                self.task.calibration_batches(),
                calibration_batches=section.calibration_batches,
                skip=skip,
            ),
            epochs=section.epochs,
            learning_rate=section.learning_rate,
            seed=2 * self.recipe.training.seed + 1,
        )

    def fit(self, stage, make, *, epochs, learning_rate, seed, schedule=None):
        """Fit a new model, or the checkpoint of this stage, to the end."""
        folder, steps = self.folder.path / "checkpoints", self.task.steps
        checkpoints = Checkpoints(
            folder, stage, self.recipe.training.keep_checkpoints
        )
        best = folder / f"{stage}.best.npz"
        with self.strategy.scope():
            loaded = checkpoints.load()
            if loaded:
                model, state = loaded
            else:
                # Dropout's seeds are drawn here, also when a stage before this
                # one came from a checkpoint and drew none.
                keras.utils.set_random_seed(seed)
                model, state = make(), {}
                model.compile(
                    self.optimizer(model, learning_rate, epochs * steps),
                    self.task.loss,
                    metrics=self.task.metrics(),
                )
        done = int(model.optimizer.iterations.numpy())
        inside = state.get("inside", 0)
        if done < epochs * steps or inside:
            self.console.rule(f"[bold]{stage}")
            self.go_on(
                model,
                partial(self.callbacks, stage, checkpoints, best, schedule),
                state,
                epochs=epochs,
                seed=seed,
            )
        if self.recipe.training.keep_best:
            KeepBest.restore(best, model)
        return model

    def callbacks(self, stage, checkpoints, best, schedule):
        """Return what happens beside a stage's steps."""
        own = [schedule] if schedule else []
        keep_best = self.recipe.training.keep_best
        return [
            *own,
            FiniteLoss(),
            *([KeepBest(best, self.validation())] if keep_best else []),
            MetricsLog(self.folder.path / "metrics.csv", stage, schedule),
            keras.callbacks.TensorBoard(
                self.folder.path / "logs" / stage, write_graph=False
            ),
            Checkpoint(checkpoints, self.stopping, self.task.steps, own),
        ]

    def validation(self):
        """Return the validation batches, if there are any."""
        if len(self.task.splits.validation):
            return self.task.batches("validation")
        return None

    def go_on(self, model, make_callbacks, state, *, epochs, seed) -> None:
        """Train a model to the end, from within an epoch if it stood there."""
        steps, validation = self.task.steps, self.validation()
        done = int(model.optimizer.iterations.numpy())
        inside = state.get("inside", 0)
        epoch = (done - inside) // steps

        def watched(state):
            # TensorBoard's callback is good for one `fit`.
            return Callbacks(
                make_callbacks(), model, epochs=epochs, steps=steps, state=state
            )

        def fit(first, last, steps, state):
            model.fit(
                self.task.training_batches(
                    seed=seed,
                    start_step=int(model.optimizer.iterations.numpy()),
                ),
                epochs=last,
                initial_epoch=first,
                steps_per_epoch=steps,
                validation_data=validation,
                callbacks=watched(state),
                shuffle=False,  # the batches are shuffled already
            )

        if inside == steps:
            _end_epoch(model, watched(state), epoch, validation, state["logs"])
        elif inside:
            # Keras makes the variables of metrics when they are first used.
            model.test_on_batch(*next(iter(self.task.batches("train"))))
            fit(epoch, epoch + 1, steps - inside, state)
        epoch += bool(inside)
        if epoch < epochs:
            fit(epoch, epochs, steps, {})

    def optimizer(self, model, learning_rate, steps) -> HybridOptimizer:
        """Return the recipe's optimizer: linear warm-up, cosine decay."""
        section = self.recipe.optimizer
        warmup = round(section.warmup * steps)
        schedule = warmup_cosine(
            learning_rate, steps=steps, warmup_steps=warmup
        )
        optimizer = HybridOptimizer(
            schedule,
            beta_1=section.beta_1,
            beta_2=section.beta_2,
            matrix_steps=section.matrix_steps,
            weight_decay=section.weight_decay or None,
        )
        decay_kernels_alone(optimizer, model)
        return optimizer

    def export(self, pruned, quantized) -> None:
        """Write the files that are deployed, and verify them."""
        path, section = self.folder.path, self.recipe.export
        checkpoint.save(pruned, path / "model.keras")
        checkpoint.save(plain(quantized), path / "model_quantized.keras")
        with self.console.status("Exporting and verifying ..."):
            if not (path / "saved_model").exists():
                export.to_saved_model(pruned, path / "saved_model")
            export.to_tflite(pruned, path / FLOAT_FILE)
            audit = export.to_tflite(
                quantized, path / INT8_FILE, allow_float=section.allow_float
            )
            verification = export.verify(
                quantized, path / INT8_FILE, self.task.batches("test")
            )
            golden.write(
                path, pruned, path / INT8_FILE, self.task.inputs("test")
            )
        self.folder.run["verification"] = dataclasses.asdict(verification)
        self.folder.run["int8_operations"] = len(audit.operations)
        self.folder.run["float_operations"] = [
            f"{op.name} at {op.layer}" for op in audit.float_operations
        ]

    def measure(self, trained, pruned, quantized) -> list[Stage]:
        """Return the rows of the result table."""
        path = self.folder.path
        rows = [
            self.keras_stage("trained", trained, None),
            self.keras_stage("pruned", pruned, "model.keras"),
            self.keras_stage(
                "quantization-aware", quantized, "model_quantized.keras"
            ),
        ]
        files = {"float32 .tflite": FLOAT_FILE, "int8 .tflite": INT8_FILE}
        with self.console.status("Measuring latency ..."):
            latencies = export.benchmark(
                [path / file for file in files.values()],
                num_threads=self.recipe.export.num_threads,
                rounds=self.recipe.export.benchmark_rounds,
            )
        for (name, file), latency in zip(files.items(), latencies, strict=True):
            runner = export.Runner(path / file)
            outputs = runner.predict(self.task.inputs("test"))
            audit = export.audit(path / file)
            rows.append(
                Stage(
                    name,
                    self.task.score(outputs),
                    audit.parameters,
                    audit.nonzero,
                    audit.size,
                    latency.median,
                    latencies[0].median / latency.median,
                )
            )
        self.int8_outputs = outputs
        return rows

    def keras_stage(self, name, model, file) -> Stage:
        """Return the row of a Keras model."""
        outputs = model.predict(self.task.batches("test"), verbose=0)
        weights = [
            keras.ops.convert_to_numpy(weight)
            for layer in flatten(model).layers
            if not isinstance(layer, quantization.FakeQuantize)
            for weight in unwrapped(layer).weights
        ]
        return Stage(
            name,
            self.task.score(outputs),
            sum(w.size for w in weights),
            sum(int(np.count_nonzero(w)) for w in weights),
            (self.folder.path / file).stat().st_size if file else None,
        )


def _end_epoch(model, callbacks, epoch, validation, logs):
    """End an epoch that was stopped behind its last step, as `fit` does."""
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    if validation is not None:
        found = model.evaluate(
            validation, callbacks=callbacks, return_dict=True
        )
        logs |= {f"val_{name}": value for name, value in found.items()}
    callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end(logs)


def _peak_memory() -> int:
    """Return the largest resident size of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
