"""What is measured of gradients and activations while a stage trains."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kbp.diagnostics import ActivationMonitor, GradientMonitor
from kbp.diagnostics.monitor import Monitor
from kbp.diagnostics.rules import Row
from kbp.optimizers.summing import steps_of
from kbp.reports.monitors.figures_file import read_figures, write_figures
from kbp.training.techniques.technique import (
    Logs,
    Stage,
    Technique,
    register_technique,
)

_EXAMPLES = 64  # of the probe


@register_technique("monitor")
class Monitors(Technique):
    """Writes what monitors find to files beside `metrics.csv`, and warns.

    Each file is written whole after an epoch. A checkpoint holds the rows of an
    epoch that is not over, so the files of a training that was stopped end as
    those of one that was not.
    """

    def __init__(self, stage: Stage):
        super().__init__(stage)
        section = self.recipe.monitor
        self.monitors: dict[str, Monitor] = {}
        if section.gradients:
            self.monitors["gradients"] = GradientMonitor(
                section.every, say=_say, **section.bounds()["gradients"]
            )
        if section.activations:
            self.monitors["activations"] = ActivationMonitor(
                _probe(stage),
                section.every,
                say=_say,
                **section.bounds()["activations"],
            )
        self.held: dict[str, Any] = {}  # rows of a checkpoint
        self.written = 0  # steps whose rows are in the files
        self.writer: Any = None

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.monitor.gradients or recipe.monitor.activations)

    @contextlib.contextmanager
    def learning(self, model: keras.Model) -> Iterator[None]:
        for monitor in self.monitors.values():
            if isinstance(monitor, GradientMonitor):
                monitor.observe(model)  # before a step is traced
        yield

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for monitor in self.monitors.values():
            monitor.set_model(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        done = steps_of(self.model.optimizer)
        for name, monitor in self.monitors.items():
            mine = [
                row
                for row in read_figures(self.path(name))
                if row.pop("stage") == self.stage.name and row["step"] < done
            ]
            self.written = max((row["step"] + 1 for row in mine), default=0)
            rest = [x for x in self.held.get(name, ()) if x["step"] < done]
            rows = {(row["step"], row["layer"]): row for row in (*mine, *rest)}
            monitor.restart([*rows.values()])
            monitor.on_train_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        for monitor in self.monitors.values():
            monitor.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        for monitor in self.monitors.values():
            monitor.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        for name, monitor in self.monitors.items():
            others = [
                row
                for row in read_figures(self.path(name))
                if row["stage"] != self.stage.name
            ]
            own = [{"stage": self.stage.name, **x} for x in monitor.history]
            write_figures(self.path(name), [*others, *own], monitor.figures)
        self.draw()
        self.written = steps_of(self.model.optimizer)

    def on_train_end(self, logs: Logs = None) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None

    def state(self) -> dict[str, Any]:
        found = {name: self.unwritten(name) for name in self.monitors}
        return {name: rows for name, rows in found.items() if rows}

    def restore(self, state: dict[str, Any]) -> None:
        self.held = state

    def path(self, name: str) -> Path:
        """Return the path of a monitor's file."""
        return self.stage.folder / f"{name}.csv"

    def unwritten(self, name: str) -> list[Row]:
        """Return the rows that are in no file yet."""
        history = self.monitors[name].history
        return [row for row in history if row["step"] >= self.written]

    def draw(self) -> None:
        """Write the epoch's figures for TensorBoard."""
        if not self.writer:
            folder = self.stage.folder / "logs" / self.stage.name / "monitor"
            self.writer = tf.summary.create_file_writer(str(folder))
        with self.writer.as_default():
            for name, monitor in self.monitors.items():
                for row in self.unwritten(name):
                    for key in monitor.figures:
                        if row[key] is not None:
                            label = f"{name}/{key}/{row['layer']}"
                            tf.summary.scalar(label, row[key], row["step"])
        self.writer.flush()


def _probe(stage: Stage) -> Any:
    """Return inputs of the stage's first training examples."""
    batches = stage.task.training_batches(seed=stage.seed, start_step=0)
    ((inputs, *_),) = batches.take(1)
    return keras.tree.map_structure(lambda x: x[:_EXAMPLES].numpy(), inputs)


def _say(sentence: str) -> None:
    """Show a warning among the lines of `fit`."""
    print(f"\nWarning: {sentence}", flush=True)
