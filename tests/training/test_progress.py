"""What a terminal shows of a training."""

import io
import re

import keras
import numpy as np
import pytest
from rich.console import Console

from kbp.training.progress import Progress, in_words

CLEARED = "\x1b[2K\x1b[?25h\r"  # the line is, and the cursor is back


def fit(console, *others, epochs=2):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2))
    with Progress(console, "MSE") as progress:
        model.fit(
            *(x, x[:, :1]),
            batch_size=2,
            epochs=epochs,
            verbose=0,
            callbacks=[progress, *others],
        )


def test_each_epoch_is_a_line():
    console = Console(file=io.StringIO(), width=80)
    fit(console)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        form = rf"epoch {number} of 2: loss \d\S*, \d\.\d s"
        assert re.fullmatch(form, line)


def test_a_notebook_has_one_text_of_all_epochs(capsys):
    fit(Console(force_jupyter=True))
    assert capsys.readouterr().out.count(" of 2: loss ") == 2
    fit(Console(force_jupyter=True, quiet=True))
    assert capsys.readouterr().out == ""


def test_a_terminal_has_a_bar_that_goes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    fit(console)
    said = file.getvalue()
    assert "/4 steps," in re.sub("\x1b\\[[0-9;]*m", "", said)
    assert len(re.findall(r"epoch \d of 2: loss", said)) == 2
    assert said.endswith(CLEARED)


def test_a_training_that_breaks_off_leaves_no_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=80, force_terminal=True)

    class Stopped(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise FloatingPointError("it diverged")

    with pytest.raises(FloatingPointError, match="it diverged"):
        fit(console, Stopped())
    said = console.file.getvalue()
    assert "epoch 1 of 2" in said
    assert said.endswith(CLEARED)


@pytest.mark.parametrize(
    ("logs", "metric", "words"),
    [
        (
            {"loss": 1.5, "accuracy": 0.5, "val_loss": 2.0, "val_accuracy": 1},
            "accuracy",
            ["loss 1.5", "accuracy 50.00%", "validation 100.00%"],
        ),
        (
            {"loss": 1.5, "val_loss": 2e-5},
            "MSE",
            ["loss 1.5", "validation loss 2e-05"],
        ),
        (
            {"loss": 1.5, "val_loss": 2.0, "mae": 0.1, "val_mae": 0.2},
            "mae",
            ["loss 1.5", "mae 0.1000", "validation 0.2000"],
        ),
        (
            {"loss": 1.5, "val_loss": 2.0},
            "loss",
            ["loss 1.5", "validation loss 2"],
        ),
    ],
)
def test_an_epoch_in_words(logs, metric, words):
    assert in_words(logs, metric) == words
