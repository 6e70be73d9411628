"""The training of a run's stages, each resumed from its last checkpoint."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console

from kbp._utils.files import write_atomically
from kbp._utils.process.disk_errors import tensorflow_writes
from kbp._utils.process.stopping import Stopping
from kbp.errors import UserError
from kbp.sparsity import DTMSchedule
from kbp.tasks.task import Task
from kbp.training import checkpoint, distribution
from kbp.training.callbacks import Checkpoint, KeepBest, MetricsLog, Waiting
from kbp.training.checkpoint import Checkpoints, State
from kbp.training.distribution import Batches, keras_workarounds
from kbp.training.divergence import (
    DivergedError,
    FiniteGradients,
    first_not_finite,
)
from kbp.training.resuming import resume_fit
from kbp.training.schedules import recipe_optimizer
from kbp.training.techniques.distillation import distilled
from kbp.training.workdir import WorkDir


class Trainer:
    """Trains the stages of a run.

    A stage saves a checkpoint after every epoch and when the process is asked
    to stop, and a resumed stage ends with the weights of one that never
    stopped.

    Args:
        task: the task, with its data and recipe.
        folder: the run's work directory.
        strategy: the strategy of tf.distribute.
        console: console that progress is printed to.

    Attributes:
        stopping: handles requests to stop the process.
        trains: whether a stage that has not ended is trained; else a UserError.
    """

    def __init__(
        self,
        task: Task,
        folder: WorkDir,
        strategy: tf.distribute.Strategy,
        console: Console,
    ):
        self.task, self.recipe = task, task.recipe
        self.folder, self.strategy = folder, strategy
        self.console = console
        self.stopping = Stopping()
        self.trains = True
        here = strategy is tf.distribute.get_strategy()
        self.waiting = Waiting(measured=here)

    def fit(
        self,
        stage: str,
        make: Callable[[], keras.Model],
        *,
        epochs: int,
        learning_rate: float,
        seed: int,
        schedule: DTMSchedule | None = None,
    ) -> keras.Model:
        """Train a stage to its end, from its last checkpoint if there is one.

        Args:
            stage: name of the stage.
            make: `make() -> model`, the new model, not compiled.
            epochs: number of epochs of the stage; a model without trainable
                weights gets none.
            learning_rate: peak of the learning rate.
            seed: seed of weights, dropout and batches.
            schedule: pruning schedule, if the model has masks.

        Returns:
            The trained model, in float32 and without a strategy.

        Raises:
            FloatingPointError: the gradients stayed infinite or NaN, also at a
                tenth of the learning rate.
        """
        folder, steps = self.folder.path / "checkpoints", self.task.steps
        checkpoints = Checkpoints(
            folder, stage, self.recipe.training.keep_checkpoints
        )
        best = folder / f"{stage}.best.npz"
        make_callbacks = partial(
            self.callbacks, stage, checkpoints, best, schedule
        )
        while True:
            model, state = self.restore_or_build(stage, checkpoints, make, seed)
            if not model.trainable_variables:
                epochs = 0
            self.share(best)
            if state["slower"] != 1:
                self.folder.run["slower"][stage] = state["slower"]
            self.compile(model, learning_rate * state["slower"], epochs)
            done = int(model.optimizer.iterations.numpy())
            if done == epochs * steps and not state.get("inside"):
                break
            if not self.trains:
                raise UserError(
                    f"no checkpoint of the end of stage {stage} is left"
                )
            self.console.rule(f"[bold]{stage}")
            try:
                self.resume_fit(
                    model, make_callbacks, state, epochs=epochs, seed=seed
                )
                break
            except DivergedError as error:
                self.slow_down(stage, model, error, seed)
        if self.recipe.training.keep_best and epochs:
            KeepBest.restore(best, model)
        return self.leave(stage, model)

    def restore_or_build(
        self,
        stage: str,
        checkpoints: Checkpoints,
        make: Callable[[], keras.Model],
        seed: int,
    ) -> tuple[keras.Model, State]:
        """Return the model and state of the last checkpoint, or new ones.

        With several workers the chief loads or makes the model, and all others
        receive it.
        """

        def found() -> tuple[keras.Model, State]:
            loaded = checkpoints.load()
            if not loaded:
                # Dropout's seeds are drawn here, also when a stage before this
                # one came from a checkpoint and drew none.
                keras.utils.set_random_seed(seed)
                loaded = make(), {}
            model, state = loaded
            slower = self.folder.run["slower"].get(stage, 1.0)
            return model, {**state, "slower": slower}

        model, state = self.enter(stage, found)
        return self.task.restored(model), state

    def precision(self, stage: str) -> str:
        """Return a stage's dtype policy; fake quantization needs float32."""
        train = stage == "train"
        return self.recipe.training.precision if train else "float32"

    def is_passthrough(self, stage: str) -> bool:
        """Tell whether a stage trains a model as it was made."""
        here = self.strategy is tf.distribute.get_strategy()
        return here and self.precision(stage) == "float32"

    def enter(
        self,
        stage: str,
        found: Callable[[], tuple[keras.Model, State]],
    ) -> tuple[keras.Model, State]:
        """Return a model under the strategy and in the precision of a stage.

        Args:
            stage: name of the stage.
            found: `found() -> (model, state)`, called by the chief alone.

        Returns:
            The model and the state.
        """
        if self.is_passthrough(stage):
            return found()
        chief = distribution.is_chief(self.recipe.training.strategy)
        content = distribution.from_chief(
            self.strategy, checkpoint.to_bytes(*found()) if chief else b""
        )
        with self.strategy.scope():
            return checkpoint.from_bytes(content, self.precision(stage))

    def share(self, file: Path) -> None:
        """Copy a file of the chief, if there is one, to every worker."""
        if distribution.has_workers(self.strategy):
            content = file.read_bytes() if file.is_file() else b""
            content = distribution.from_chief(self.strategy, content)
            if content:
                write_atomically(file, content)

    def leave(self, stage: str, model: keras.Model) -> keras.Model:
        """Return a model without strategy and in float32."""
        if self.is_passthrough(stage):
            return model
        for norm in keras_workarounds.find(
            keras.layers.BatchNormalization, model
        ):
            norm.synchronized = False  # other backends do not support it
        content = checkpoint.to_bytes(model)
        left, _ = checkpoint.from_bytes(content, "float32")
        return left

    def compile(
        self, model: keras.Model, learning_rate: float, epochs: int
    ) -> None:
        """Compile a model; a new optimizer takes the state of the former."""
        section = self.recipe.training
        steps_per_execution = section.steps_per_execution
        with self.strategy.scope():
            before = model.optimizer if model.compiled else None
            optimizer = recipe_optimizer(
                self.recipe.optimizer,
                model,
                learning_rate,
                epochs * self.task.steps,
            )
            if before:
                # The new one may have another learning rate.
                optimizer.build(model.trainable_variables)
                for new, old in zip(
                    optimizer.variables, before.variables, strict=True
                ):
                    new.assign(old)
            model.compile(
                optimizer,
                steps_per_execution=steps_per_execution,
                **self.task.compile_options(),
            )
        distribution.prepare(
            model,
            steps_per_execution=steps_per_execution,
            synchronize_batch_norm=section.synchronize_batch_norm,
        )

    def slow_down(
        self, stage: str, model: keras.Model, error: DivergedError, seed: int
    ) -> None:
        """Set a stage's learning rate to a tenth, or raise the second time.

        The error names the place where values are first not finite.
        """
        slower = self.folder.run["slower"]
        if stage in slower:
            (batch,) = self.task.training_batches(
                seed=seed, start_step=error.step
            ).take(1)
            place = first_not_finite(model, batch) or "the loss"
            raise FloatingPointError(
                f"{stage}, step {error.step}: {place} is not finite, also at a "
                "tenth of the learning rate. Lower optimizer.learning_rate, or "
                "look at the data."
            ) from error
        slower[stage] = 0.1
        self.folder.save_run()
        self.console.print(
            f"{error} Going on from the last checkpoint at a tenth of the "
            "learning rate."
        )

    def callbacks(
        self,
        stage: str,
        checkpoints: Checkpoints,
        best: Path,
        schedule: DTMSchedule | None,
    ) -> list[keras.callbacks.Callback]:
        """Return the callbacks of a stage."""
        own = [schedule] if schedule else []
        keep_best = self.recipe.training.keep_best
        return [
            *own,
            FiniteGradients(),
            self.waiting,
            *([KeepBest(best, self.validation())] if keep_best else []),
            MetricsLog(self.folder.path / "metrics.csv", stage, schedule),
            keras.callbacks.TensorBoard(
                self.folder.path / "logs" / stage, write_graph=False
            ),
            Checkpoint(
                checkpoints,
                self.stopping,
                self.task.steps,
                own,
                within=not distribution.has_workers(self.strategy),
            ),
        ]

    def validation(self) -> Batches | None:
        """Return the validation batches, if there are any."""
        if count := len(self.task.splits.validation):
            size = distribution.evaluation_batch_size(
                self.strategy, count, self.task.batch_size
            )
            make = partial(self.task.batches, "validation", size)
            return distribution.shared(self.strategy, make, counted=True)
        return None

    def batches(self, seed: int, step: int) -> Batches:
        """Return the training batches from a step on."""
        make = partial(self.task.training_batches, seed=seed, start_step=step)
        return self.waiting.timed(distribution.shared(self.strategy, make))

    def resume_fit(
        self,
        model: keras.Model,
        make_callbacks: Callable[[], list[keras.callbacks.Callback]],
        state: State,
        *,
        epochs: int,
        seed: int,
    ) -> None:
        """Train a model to the end, also from the middle of an epoch."""
        weight = self.recipe.training.distillation
        learning = (
            distilled(model, self.task.given(), weight=weight)
            if weight
            else contextlib.nullcontext()
        )
        # The curves' files are TensorFlow's.
        with tensorflow_writes(self.folder.path), learning:
            resume_fit(
                model,
                state,
                batches=partial(self.batches, seed),
                validation=self.validation(),
                make_callbacks=make_callbacks,
                epochs=epochs,
                steps=self.task.steps,
            )
