"""The training of a run's stages, each resumed from its last checkpoint."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console

from kbp._utils.process.disk_errors import tensorflow_writes
from kbp._utils.process.stopping import Stopping
from kbp.errors import UserError
from kbp.optimizers.summing import steps_of
from kbp.sparsity import DTMSchedule
from kbp.tasks.task import Task
from kbp.training import distribution
from kbp.training.callbacks import Checkpoint, MetricsLog, Waiting
from kbp.training.checkpoint import Checkpoints, State
from kbp.training.distribution import Batches
from kbp.training.distribution.placement import Placement
from kbp.training.divergence import (
    DivergedError,
    FiniteGradients,
    first_not_finite,
)
from kbp.training.optimizers import make_optimizer
from kbp.training.progress import Progress
from kbp.training.resuming import resume_fit
from kbp.training.techniques.technique import Stage, Technique, asked
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
        teacher: whose outputs models may learn from, if there is one.
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
        self.placement = Placement(self.recipe, strategy)
        self.stopping = Stopping()
        self.trains = True
        self.teacher = task.given()
        here = strategy is tf.distribute.get_strategy()
        self.waiting = Waiting(measured=here)
        self.progress = Progress(console, task.metric)

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
        checkpoints = Checkpoints(
            self.folder.path / "checkpoints",
            stage,
            self.recipe.training.keep_checkpoints,
        )
        while True:
            techniques = self.techniques(stage, epochs, seed, schedule)
            model, state = self.restore_or_build(stage, checkpoints, make, seed)
            if not model.trainable_variables:
                epochs = 0
            self.placement.share(self.best(stage))
            if state["slower"] != 1:
                self.folder.run["slower"][stage] = state["slower"]
            rate = learning_rate * state["slower"]
            self.compile(model, rate, epochs, techniques)
            for technique in techniques:
                if held := state.get("techniques", {}).get(technique.name):
                    technique.restore(held)
            if self.is_over(model, state, epochs, techniques):
                break
            if not self.trains:
                raise UserError(
                    f"no checkpoint of the end of stage {stage} is left"
                )
            self.console.rule(f"[bold]{stage}")
            make_callbacks = partial(
                self.callbacks, stage, checkpoints, schedule, techniques
            )
            try:
                with contextlib.ExitStack() as learning:
                    for technique in techniques:
                        learning.enter_context(technique.learning(model))
                    self.resume_fit(
                        model, make_callbacks, state, epochs=epochs, seed=seed
                    )
                break
            except DivergedError as error:
                self.slow_down(stage, model, error, seed)
        for technique in techniques:
            technique.end(model)
        model = self.placement.leave(stage, model)
        for technique in techniques:
            technique.refine(model)
        return model

    def is_over(
        self,
        model: keras.Model,
        state: State,
        epochs: int,
        techniques: Sequence[Technique],
    ) -> bool:
        """Tell whether a stage has no step left."""
        done = steps_of(model.optimizer) == epochs * self.task.steps
        stopped = any(technique.stopped for technique in techniques)
        return stopped or (done and not state.get("inside"))

    def best(self, stage: str) -> Path:
        """Return the path of the file for a stage's best weights."""
        # Models that are compiled alone have no folder.
        folder = self.folder.path if self.folder else Path()
        return folder / "checkpoints" / f"{stage}.best.npz"

    def techniques(
        self,
        stage: str,
        epochs: int,
        seed: int,
        schedule: DTMSchedule | None = None,
    ) -> list[Technique]:
        """Return what the recipe adds to a stage, see `fit`."""
        known = Stage(
            name=stage,
            task=self.task,
            best=self.best(stage),
            precision=self.placement.precision(stage),
            epochs=epochs,
            seed=seed,
            schedule=schedule,
            validation=self.validation(),
            teacher=self.teacher,
            folder=self.folder.path if self.folder else Path(),
        )
        return [kind(known) for kind in asked(self.recipe)]

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

        model, state = self.placement.enter(stage, found)
        return self.task.restored(model), state

    def compile(
        self,
        model: keras.Model,
        learning_rate: float,
        epochs: int,
        techniques: Sequence[Technique],
    ) -> None:
        """Compile a model; a new optimizer takes the state of the former."""
        section = self.recipe.training
        steps_per_execution = section.steps_per_execution
        with self.strategy.scope():
            before = model.optimizer if model.compiled else None
            optimizer = make_optimizer(
                self.recipe.optimizer,
                model,
                learning_rate,
                steps=epochs * self.task.steps,
                epoch_steps=self.task.steps,
            )
            for technique in techniques:
                optimizer = technique.optimizer(optimizer)
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
        schedule: DTMSchedule | None,
        techniques: Sequence[Technique],
    ) -> list[keras.callbacks.Callback]:
        """Return the callbacks of a stage."""
        own = [schedule] if schedule else []
        return [
            *own,
            FiniteGradients(),
            self.waiting,
            self.progress,
            *techniques,
            MetricsLog(self.folder.path / "metrics.csv", stage, schedule),
            keras.callbacks.TensorBoard(
                self.folder.path / "logs" / stage, write_graph=False
            ),
            Checkpoint(
                checkpoints,
                self.stopping,
                self.task.steps,
                own,
                techniques=techniques,
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
        # The curves' files are TensorFlow's.
        with tensorflow_writes(self.folder.path), self.progress:
            resume_fit(
                model,
                state,
                batches=partial(self.batches, seed),
                validation=self.validation(),
                make_callbacks=make_callbacks,
                epochs=epochs,
                steps=self.task.steps,
            )
