"""What happens beside the steps of `fit`."""

import csv
import io
import math
import time
from pathlib import Path

import keras
import numpy as np

from kbp.export.files import write_atomically
from kbp.sparsity import DTMSchedule
from kbp.training import checkpoint


class FiniteLoss(keras.callbacks.Callback):
    """Stop with an error, and the step, when the loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            step = int(self.model.optimizer.iterations.numpy())
            raise FloatingPointError(
                f"The loss is {loss} after step {step}. "
                "Lower optimizer.learning_rate."
            )


class Checkpoint(keras.callbacks.Callback):
    """Save the whole state of the training after each epoch.

    Args:
        path: the file; see `kbp.training.checkpoint`.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        checkpoint.save(self.model, self.path)


class KeepBest(keras.callbacks.Callback):
    """Remember the weights with the least validation loss, the start's too.

    They lie in a file, so that a resumed training knows them.

    Args:
        path: the file.
        data: validation batches.
    """

    def __init__(self, path: Path, data):
        super().__init__()
        self.path, self.data = path, data

    def on_train_begin(self, logs=None):
        if self.path.is_file():
            with np.load(self.path) as kept:
                self.least = float(kept["loss"])
            return
        self.least = math.inf
        self.keep(self.model.evaluate(self.data, verbose=0, return_dict=True))

    def on_epoch_end(self, epoch, logs=None):
        self.keep({"loss": logs["val_loss"]})

    def keep(self, logs):
        if logs["loss"] < self.least:
            self.least = logs["loss"]
            content = io.BytesIO()
            weights = self.model.get_weights()
            np.savez(content, *weights, loss=np.float64(self.least))
            write_atomically(self.path, content.getvalue())

    @staticmethod
    def restore(path: Path, model: keras.Model) -> None:
        """Give a model the weights that a file remembers."""
        with np.load(path) as kept:
            count = len(kept.files) - 1
            model.set_weights([kept[f"arr_{i}"] for i in range(count)])


class MetricsLog(keras.callbacks.Callback):
    """Keep one row per epoch of every stage in a CSV file.

    The file is written whole after each epoch. Rows of epochs that a resumed
    stage trains again are replaced.

    Args:
        path: the file; what it holds of other stages stays.
        stage: name of the stage that trains.
        schedule: whose sparsity of each layer is logged too.
    """

    def __init__(
        self, path: Path, stage: str, schedule: DTMSchedule | None = None
    ):
        super().__init__()
        self.path = path
        self.stage = stage
        self.schedule = schedule

    def on_train_begin(self, logs=None):
        self.rows = read_metrics(self.path)

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
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
        columns = dict.fromkeys(key for r in self.rows for key in r)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, text.getvalue())


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics file, without the empty cells."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]
