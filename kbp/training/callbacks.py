"""Keras callbacks that save checkpoints, the best weights and metrics."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kbp._utils.files import write_atomically
from kbp._utils.process.stopping import Stopping
from kbp.data.waiting import WaitingClock
from kbp.reports.metrics_file import as_csv, read_metrics
from kbp.sparsity import DTMSchedule
from kbp.training.checkpoint import Checkpoints
from kbp.training.techniques.technique import Logs, Technique


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of the training after each epoch, and when asked to stop.

    Args:
        checkpoints: the stage's checkpoints.
        stopping: knows whether the process was asked to stop.
        steps: number of steps of an epoch.
        others: callbacks whose `state()` is saved too, for a stop within an
            epoch.
        techniques: those whose `state()` is saved for every resumption.
        within: whether the training may stop within an epoch. One of several
            workers may not, because the metrics' counts are spread over all
            of them.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stopping: Stopping,
        steps: int,
        others: Sequence[keras.callbacks.Callback] = (),
        *,
        techniques: Sequence[Technique] = (),
        within: bool = True,
    ):
        super().__init__()
        self.checkpoints, self.stopping = checkpoints, stopping
        self.steps, self.others = steps, others
        self.techniques = techniques
        self.within = within
        self.logs: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.stopping.unsaved = self.within
        self.inside = batch + 1
        if self.inside == self.steps:
            # The evaluation resets the metrics.
            self.logs = {
                key: float(value) for key, value in (logs or {}).items()
            }
        self.stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.inside, self.logs = 0, {}
        self.save()

    def stop_if_asked(self) -> None:
        """Save and end the process if that was requested."""
        if self.stopping.requested and self.within:
            self.save()

    def save(self) -> None:
        """Save a checkpoint, within an epoch with the metrics' counts."""
        within = 0 < self.inside < self.steps
        variables = self.model.metrics_variables if within else ()
        state = {
            "inside": self.inside,  # steps of the epoch that is not over
            "logs": self.logs,  # of the last step, if it was the epoch's
            "metrics": _values(variables),
            "callbacks": [other.state() for other in self.others],
        }
        if held := {x.name: x.state() for x in self.techniques if x.state()}:
            state["techniques"] = held
        self.checkpoints.save(self.model, state)
        self.stopping.saved()


class Waiting(keras.callbacks.Callback):
    """Logs which share of an epoch's training went by waiting for data.

    It comes before the callbacks that write what is logged.

    Args:
        measured: whether to; replicas ask for their data ahead.
    """

    def __init__(self, *, measured: bool):
        super().__init__()
        self.clock = WaitingClock() if measured else None

    def timed(self, batches: Any) -> Any:
        """Return the same batches, whose taking is timed."""
        return self.clock.timed(batches) if self.clock else batches

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.start, self.share = time.perf_counter(), math.nan
        if self.clock:
            self.clock.reset()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Stop before the validation, which is no training."""
        if self.clock and math.isnan(self.share):
            took = time.perf_counter() - self.start
            self.share = min(1.0, self.clock.seconds / took)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.on_test_begin()
        # An epoch that stopped after its last step waits no more.
        if self.share > 0 and logs is not None:
            logs["waiting"] = self.share


class MetricsLog(keras.callbacks.Callback):
    """Writes one row for each epoch of every stage to a CSV file.

    The whole file is written after each epoch. Rows of epochs that a resumed
    stage trains again are replaced.

    Args:
        path: path of the file; its rows of other stages stay.
        stage: name of the stage that trains.
        schedule: pruning schedule, whose sparsity of each layer is logged.
    """

    def __init__(
        self, path: Path, stage: str, schedule: DTMSchedule | None = None
    ):
        super().__init__()
        self.path = path
        self.stage = stage
        self.schedule = schedule

    def on_train_begin(self, logs: Logs = None) -> None:
        self.rows: list[dict[str, Any]] = read_metrics(self.path)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        optimizer = self.model.optimizer
        row = {
            "stage": self.stage,
            "epoch": epoch + 1,
            "seconds": round(time.perf_counter() - self.start, 3),
            "learning_rate": float(optimizer.learning_rate.numpy()),
            **{k: float(v) for k, v in (logs or {}).items()},
        }
        if self.schedule is not None:
            row |= {
                f"sparsity/{layer}": share
                for layer, share in self.schedule.history[-1].items()
            }
        self.rows = [
            r
            for r in self.rows
            if r["stage"] != self.stage or int(r["epoch"]) <= epoch
        ]
        self.rows.append(row)
        write_atomically(self.path, as_csv(self.rows))


def _values(variables: Sequence[keras.Variable]) -> list[Any]:
    """Return the exact values of variables as numbers and lists."""
    return [
        keras.ops.convert_to_numpy(variable).astype("float64").tolist()
        for variable in variables
    ]
