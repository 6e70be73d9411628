"""A recipe of seconds, and its float stage alone."""

import io
import itertools
import signal
from functools import partial

import keras
import numpy as np
from rich.console import Console

from kbp.tasks import make_task
from kbp.training import callbacks
from kbp.training.pipeline import Pipeline
from kbp.training.workdir import WorkDir

ROWS = 520  # of which some 350 train: 50 steps


def table(folder):
    """Write a table of three classes, and return the sections of a recipe."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, 4))
    score = values[:, 0] + 0.5 * values[:, 1] ** 2 - 0.3 * values[:, 2]
    kinds = np.array(["fern", "moss", "reed"])[np.digitize(score, [0, 0.9])]
    lines = ["a,b,c,d,kind"]
    for row, kind in zip(values, kinds, strict=True):
        lines.append(",".join([*(f"{x:.6f}" for x in row), kind]))
    file = folder / "plants.csv"
    file.write_text("\n".join([*lines, ""]))
    return {
        "model": {"architecture": "residual_mlp", "width": 8, "num_layers": 2},
        "data": {"name": "csv_table", "file": str(file), "target": "kind"},
        "optimizer": {"learning_rate": 0.01},
        "training": {"epochs": 5, "batch_size": 32},
        "quantization": {"epochs": 1},
        "export": {"benchmark_rounds": 1},
    }


# Each key that has an effect of its own, as settings of the small recipe.
KEYS = {
    **{
        f"name-{name}": [f"optimizer.name={name}"]
        for name in ("adam", "lion", "nadam", "muon")
    },
    "momentum": ["optimizer.name=sgd", "optimizer.momentum=0.9"],
    "nesterov": [
        *("optimizer.name=sgd", "optimizer.momentum=0.9"),
        "optimizer.nesterov=true",
    ],
    "rho-centered": [
        *("optimizer.name=rmsprop", "optimizer.rho=0.8"),
        "optimizer.centered=true",
    ],
    "beta-amsgrad": [
        *("optimizer.name=adamw", "optimizer.beta_1=0.8"),
        *("optimizer.beta_2=0.99", "optimizer.epsilon=1e-5"),
        *("optimizer.amsgrad=true", "optimizer.weight_decay=0.1"),
    ],
    "matrix_steps": ["optimizer.matrix_steps=true"],
    "cosine_restarts": [
        *("optimizer.schedule=cosine_restarts", "optimizer.period=1"),
        *("optimizer.period_factor=1.5", "optimizer.peak_factor=0.8"),
    ],
    "step": [
        *("optimizer.schedule=step", "optimizer.step_size=2"),
        "optimizer.decay_rate=0.5",
    ],
    "exponential": ["optimizer.schedule=exponential", "optimizer.warmup=0.3"],
    "polynomial": [
        *("optimizer.schedule=polynomial", "optimizer.power=2"),
        "optimizer.minimum_share=0.1",
    ],
    "constant": ["optimizer.schedule=constant", "optimizer.warmup=0"],
    "plateau": [
        *("optimizer.schedule=plateau", "optimizer.patience=1"),
        *("optimizer.min_delta=0.05", "optimizer.cooldown=1"),
    ],
    "clipnorm": ["optimizer.clipnorm=0.01"],
    "global_clipnorm": [
        "optimizer.global_clipnorm=0.01",
        "optimizer.name=sgd",
        "optimizer.learning_rate=1",
    ],
    "clipvalue": ["optimizer.clipvalue=0.001"],
    "gradient_accumulation_steps": ["optimizer.gradient_accumulation_steps=2"],
    "ema": ["optimizer.averaging=ema", "optimizer.averaging_momentum=0.9"],
    "tail": ["optimizer.averaging=tail", "optimizer.averaging_begin=0.5"],
    "early_stopping": [
        "training.early_stopping="
        '{patience = 1, monitor = "val_accuracy", min_delta = 0.1}',
    ],
    "mixed_float16": ["training.precision=mixed_float16"],
    "rematerialize": ["training.rematerialize=true"],
    "label_smoothing": ["training.label_smoothing=0.1"],
    "together": [
        *("optimizer.name=adam", "optimizer.schedule=plateau"),
        *("optimizer.patience=1", "optimizer.min_delta=0.05"),
        *("optimizer.clipnorm=0.01", "training.label_smoothing=0.1"),
        "optimizer.gradient_accumulation_steps=2",
        "training.early_stopping={patience = 2, min_delta = 0.05}",
        "training.rematerialize=true",
    ],
}


def trained(found, folder, resume=False):
    """Return the model of the stage "train"."""
    keras.utils.clear_session(free_memory=False)
    work = WorkDir(folder, found, resume=resume)
    console = Console(file=io.StringIO(), width=120)
    pipeline = Pipeline(found, work, partial(make_task, found, None), console)
    with work, pipeline.trainer.stopping:
        return pipeline.fit()


def stop_in(patch, hook, calls):
    """Let a training be asked to stop, as by a person, at calls of a hook.

    Args:
        patch: a `monkeypatch`.
        hook: name of a method of the callback that writes checkpoints.
        calls: numbers of those that are to stop it, the first is 1.
    """
    counted = itertools.count(1)
    method = getattr(callbacks.Checkpoint, hook)

    def asked(self, batch, logs=None):
        if next(counted) in calls:
            signal.raise_signal(signal.SIGTERM)
        method(self, batch, logs)

    patch.setattr(callbacks.Checkpoint, hook, asked)
