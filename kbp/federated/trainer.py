"""The stages of a run, trained by clients in rounds."""

import contextlib
import csv
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.markup import escape

from kbp import graph
from kbp._utils.files import remove, write_atomically
from kbp.errors import UserError
from kbp.federated.client import app_of
from kbp.federated.exchange import Exchange
from kbp.federated.flower import ArrayRecord, Context, Grid
from kbp.federated.learner import RecipeLearner
from kbp.federated.local import LocalGrid
from kbp.federated.records import as_arrays, as_record
from kbp.federated.rounds import Observer, Plan, Round, Rounds
from kbp.federated.strategy import make_strategy, restore, state_of
from kbp.federated.table import CLIENTS_FILE, clients_table
from kbp.optimizers.summing import steps_of
from kbp.reports.metrics_file import as_csv
from kbp.sparsity import DTMSchedule
from kbp.training.checkpoint import State, seed_states
from kbp.training.progress import in_words
from kbp.training.techniques.technique import asked
from kbp.training.trainer import Trainer


class FederatedTrainer(Trainer):
    """Trains the stages of a run by clients who keep their data.

    An epoch of a stage is one of all clients. After each round a checkpoint
    holds the server's model, the strategy, and, where clients are in this
    process, what they keep; a resumed training is the same to the bit then.
    Masks are the server's: it moves them between rounds, and clients train
    with them as they are.

    Args:
        grid: Flower's connection to clients elsewhere; by default they are in
            this process.
        mods: of Flower's, of clients in this process.
        others: see `Trainer`.
    """

    def __init__(
        self, *others: Any, grid: Grid | None = None, mods: Sequence[Any] = ()
    ):
        super().__init__(*others)
        for technique in asked(self.recipe):
            if not technique.by_rounds:
                raise UserError(
                    f"{technique.name} is not done by rounds; leave it out, or "
                    "set federated.clients = 0"
                )
        self.grid, self.mods = grid, mods
        self.local: LocalGrid | None = None  # of the last stage
        section = self.recipe.federated
        self.learner = RecipeLearner(self.recipe, task=self.task)
        # Names of all nodes that have been there, in whatever stage.
        self.nodes: dict[int, str] = {}
        if grid is None:  # wrong partitions show at once
            names = self.learner.place({}).shares.names
            self.nodes = dict(enumerate(names, start=1))
        make_strategy(section)
        if section.clipping_norm and Exchange(self.task.build()).moments:
            raise UserError(
                "federated.clipping_norm does not go with BatchNormalization, "
                "whose statistics tell of the data; take an architecture "
                "without it, such as bp_transformer"
            )

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
        self.stage, self.peak = stage, learning_rate
        return super().fit(
            stage,
            make,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            schedule=schedule,
        )

    def resume_fit(
        self,
        model: keras.Model,
        make_callbacks: Callable[[], list[keras.callbacks.Callback]],
        state: State,
        *,
        epochs: int,
        seed: int,
    ) -> None:
        section = self.recipe.federated
        # Keras does not load the count of steps of one that is not built.
        model.optimizer.build(model.trainable_variables)
        plan = Plan(
            self.stage,
            architecture(model),
            epochs,
            section.local_epochs,
            self.peak,
            json.dumps(self.task.files()),
            seed,
        )
        steps = section.local_epochs * self.task.steps
        done = math.ceil(steps_of(model.optimizer) / steps)
        strategy = make_strategy(section)
        grid = self.grid
        if grid is None:
            grid = self.local = LocalGrid(
                app_of(self.learner, section, self.mods), section.clients
            )
        *callbacks, checkpoint = make_callbacks()
        clients = Clients(
            self.folder.path / "checkpoints", self.stage, strategy, grid
        )
        if done:
            clients.restore(steps_of(model.optimizer))
        observer = Progress(
            self, model, plan, [*callbacks, clients, checkpoint]
        )
        running = Rounds(
            strategy,
            model,
            plan,
            observer,
            longest_update=section.longest_update,
            timeout=section.timeout,
            done=done,
            batch_norm=section.batch_norm,
            clients=section.clients,
            nodes=self.nodes,
        )
        observer.run(running, grid)


def architecture(model: keras.Model) -> str:
    """Return a model as JSON: its layers and the states of random numbers."""
    found = {
        "model": keras.saving.serialize_keras_object(graph.plain(model)),
        "layers": [layer.name for layer in model.layers],
        "seeds": [v.numpy().tolist() for v in seed_states(model)],
    }
    return json.dumps(found)


class StoppedError(Exception):
    """A callback has asked that the rounds end."""


class Progress(Observer):
    """Lets Keras's callbacks see rounds as epochs, and says what comes of them.

    Args:
        trainer: of the run.
        model: the server's, compiled.
        plan: of the rounds.
        callbacks: of the stage, the checkpoint last.
    """

    def __init__(
        self,
        trainer: FederatedTrainer,
        model: keras.Model,
        plan: Plan,
        callbacks: Sequence[keras.callbacks.Callback],
    ):
        self.trainer, self.model, self.plan = trainer, model, plan
        self.path = trainer.folder.path / CLIENTS_FILE
        self.callbacks = keras.callbacks.CallbackList(
            [*callbacks],
            model=model,
            epochs=plan.epochs,
            steps=trainer.task.steps,
            verbose=0,
        )

    def run(self, running: Rounds, grid: Grid) -> None:
        """Run the rounds that are left."""
        self.callbacks.on_train_begin()
        with contextlib.suppress(StoppedError):
            running.run(grid)
        self.callbacks.on_train_end()

    def waiting(self, there: int, needed: int) -> None:
        self.trainer.console.print(
            f"waiting for clients: {there} of {needed} are connected"
        )

    def begin(self, number: int) -> None:
        self.start = time.perf_counter()
        self.callbacks.on_epoch_begin(self.plan.request(number).done)

    def end(self, done: Round) -> None:
        request, trainer = self.plan.request(done.number), self.trainer
        epochs = request.done + request.epochs
        self.model.optimizer.seen_steps.assign(epochs * trainer.task.steps)
        logs: dict[str, Any] = dict(done.metrics)
        validation = trainer.validation()
        if validation is not None:
            found = self.model.evaluate(validation, verbose=0, return_dict=True)
            logs |= {f"val_{name}": value for name, value in found.items()}
        self.write(done)
        self.say(done, logs)
        self.callbacks.on_epoch_end(epochs - 1, logs)
        if self.model.stop_training:
            raise StoppedError

    def say(self, done: Round, logs: dict[str, Any]) -> None:
        """Print a round in a line, and who does not count in others."""
        trained = len(done.clients) - len(done.left_out)
        words = [
            *in_words(logs, self.trainer.task.metric),
            f"{trained} of {len(done.clients)} clients",
            f"{time.perf_counter() - self.start:.1f} s",
            f"{done.bytes_up / 1e6:.2f} MB from them",
        ]
        say = self.trainer.console.print
        say(
            f"round {done.number} of {self.plan.rounds}: {', '.join(words)}",
            highlight=False,
        )
        if done.remark:
            say(f"[yellow]No aggregate:[/] {escape(done.remark)}")
        for name, reason in done.left_out.items():
            say(f"[yellow]Left out:[/] {escape(f'{name}: {reason}')}")

    def write(self, done: Round) -> None:
        """Add a round's clients to the file of them."""
        rows: list[dict[str, Any]] = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                rows = [*csv.DictReader(file)]
        rows = [
            row
            for row in rows
            if row["stage"] != self.plan.stage
            or int(row["round"]) < done.number
        ]
        for client in done.clients:
            kept = {k: v for k, v in client.items() if k != "node"}
            rows.append({"stage": self.plan.stage, "round": done.number} | kept)
        write_atomically(self.path, as_csv(rows))
        run = self.trainer.folder.run
        sent = run.setdefault("bytes", {}).setdefault(self.plan.stage, {})
        sent[str(done.number)] = [done.bytes_down, done.bytes_up]
        shared = self.trainer.recipe.federated.shared_out()
        table = clients_table(rows, run["bytes"], shared)
        run["tables"] = run.get("tables", {}) | {"Clients": table}
        self.trainer.folder.save_run()


class Clients(keras.callbacks.Callback):
    """Saves beside each checkpoint what the strategy and the clients keep.

    Args:
        folder: of the checkpoints.
        stage: its name.
        strategy: of Flower's.
        grid: of the clients; those elsewhere keep their own.
    """

    def __init__(self, folder: Path, stage: str, strategy: Any, grid: Grid):
        super().__init__()
        self.folder, self.stage = folder, stage
        self.strategy, self.grid = strategy, grid

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"{self.stage}-{step:08d}.clients.npz"

    @property
    def contexts(self) -> dict[int, Context]:
        """What the clients keep, if they are in this process."""
        return self.grid.contexts if isinstance(self.grid, LocalGrid) else {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found: dict[str, Any] = {
            f"strategy/{key}": array
            for key, array in state_of(self.strategy).items()
        }
        for node, context in self.contexts.items():
            for name, record in context.state.array_records.items():
                found |= {
                    f"{node}/{name}/{key}": array
                    for key, array in as_arrays(record).items()
                }
        content, step = io.BytesIO(), steps_of(self.model.optimizer)
        np.savez(content, **found)
        write_atomically(self.path(step), content.getvalue())
        # The last checkpoint may still be of the step before, also where this
        # one is done once more.
        files = self.folder.glob(f"{self.stage}-*.clients.npz")
        for old in sorted(x for x in files if x != self.path(step))[:-1]:
            remove(old)

    def restore(self, step: int) -> None:
        """Give the strategy and the clients what they kept at a step.

        Raises:
            UserError: the file is missing.
        """
        path = self.path(step)
        if not path.is_file():
            raise UserError(
                f"{path}: missing, and what clients keep is in it; choose "
                "another `workdir=`"
            )
        kept: dict[str, np.ndarray] = {}
        records: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        with np.load(path) as held:
            for key in held.files:
                owner, _, rest = key.partition("/")
                if owner == "strategy":
                    kept[rest] = held[key]
                else:
                    name, _, own = rest.partition("/")
                    records.setdefault((owner, name), {})[own] = held[key]
        if records and not self.contexts:
            raise UserError(
                f"{path}: holds what clients of one process keep, and these "
                "are elsewhere; choose another `workdir=`"
            )
        restore(self.strategy, kept)
        for (owner, name), arrays in records.items():
            record: ArrayRecord = as_record(arrays)
            self.contexts[int(owner)].state[name] = record
