"""What a terminal shows of a training."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from kbp.tasks.registry import format_score
from kbp.training.techniques.technique import Logs


class Progress(keras.callbacks.Callback):
    """Says in a line what came of each epoch.

    On a terminal a bar shows where an epoch is, as long as the object is
    entered as a context.

    Args:
        console: where the lines go.
        metric: name of the task's score.
    """

    def __init__(self, console: Console, metric: str):
        super().__init__()
        self.console, self.metric = console, metric
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=console.is_jupyter or not console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.forget()
        self.bar.stop()

    def forget(self) -> None:
        """Take the bars of epochs away."""
        for number in self.bar.task_ids:
            self.bar.remove_task(number)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.start = time.perf_counter()
        self.name = f"epoch {epoch + 1} of {self.params['epochs']}"
        self.current = self.bar.add_task(self.name, total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.bar.update(self.current, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.forget()
        words = in_words(logs or {}, self.metric)
        if pruned := (logs or {}).get("sparsity"):
            words.append(f"{pruned:.0%} pruned")
        seconds = time.perf_counter() - self.start
        words.append(f"{seconds:.{int(seconds < 10)}f} s")
        said = f"{self.name}: {', '.join(words)}"
        if self.console.is_jupyter and not self.console.quiet:
            print(said)  # one text for all epochs: rich shows a frame for each
        else:
            self.console.print(said, highlight=False, soft_wrap=True)


def in_words(logs: Mapping[str, Any], metric: str) -> list[str]:
    """Return the losses and scores of an epoch as short texts.

    Args:
        logs: as Keras gives them to callbacks.
        metric: name of the score; its key is in lower case.

    Example:
    >>> logs = {"loss": 0.25, "val_loss": 0.5, "val_accuracy": 0.9}
    >>> in_words(logs, "accuracy")
    ['loss 0.25', 'validation 90.00%']
    """
    key = metric.lower()
    words = []
    for prefix, name in (("", key), ("val_", "validation")):
        scored = key != "loss" and prefix + key in logs
        if prefix + "loss" in logs and not (prefix and scored):
            name_of_loss = "validation loss" if prefix else "loss"
            words.append(f"{name_of_loss} {logs[prefix + 'loss']:.4g}")
        if scored:
            score = format_score(metric, logs[prefix + key])
            words.append(f"{name} {score}")
    return words
