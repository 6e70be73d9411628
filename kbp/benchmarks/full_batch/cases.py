"""Seconds until the loss is at the bottom, by full-batch methods and Adam."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp import training
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.full_batch.problem import (
    GOAL,
    INPUTS,
    ROWS,
    TEACHER,
    examples,
    network,
)

SEEDS = 5
CASES = {f"seed {seed}": seed for seed in range(1, SEEDS + 1)}
OURS = ("gauss-newton", "l-bfgs")
ADAM = "Adam"  # at the best of these for each seed
RATES, STEPS = (0.01, 0.03, 0.1), (20_000, 60_000)
_CHUNK = 500  # Adam's steps in one call of TensorFlow
_PATIENCE = 300.0  # seconds that a method of ours may take


class Reached(keras.callbacks.Callback):
    """Ends a training at the goal."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["loss"] <= GOAL:
            self.model.stop_training = True


def measure(seed: int) -> dict:
    """Train the same network by each method until its loss is at the goal.

    All compute in float64. Of full-batch methods the whole call counts, of Adam
    the steps alone, without the time that TensorFlow takes to trace them.

    Args:
        seed: of the problem and of the first weights.

    Returns:
        By method `steps`, `seconds`, `loss` and whether it `reached` the goal;
        of Adam its `learning_rate` and the `planned` steps of its cosine, too:
        those that reached it first, or went lowest.
    """
    found = {name: _full_batch(name, seed) for name in OURS}
    tries = [
        _adam(rate, steps, seed)
        for rate, steps in itertools.product(RATES, STEPS)
    ]
    found[ADAM] = min(tries, key=_order)
    return {"methods": found}


def _order(one: dict) -> tuple[int, float]:
    """Return what is less for a better try."""
    if one["reached"]:
        return 0, one["seconds"]
    # A loss that is no number is neither less nor more than another.
    return 1, one["loss"] if np.isfinite(one["loss"]) else np.inf


def _full_batch(method: str, seed: int) -> dict:
    model = network(seed)
    model.compile(loss="mse")
    x, y = examples(seed)
    start = time.perf_counter()
    losses = training.minimize(
        model,
        x,
        y,
        method=method,
        dtype="float64",
        tolerance=0.0,
        max_steps=100_000,
        max_seconds=_PATIENCE,
        callbacks=[Reached()],
    ).history["loss"]
    return _result(len(losses), time.perf_counter() - start, losses[-1])


def _adam(rate: float, steps: int, seed: int) -> dict:
    """Train by Keras's Adam, on all examples at each step."""
    run = _adam_steps(rate, steps, seed)
    seconds, done, loss = 0.0, 0, np.inf
    while done < steps and not loss <= GOAL:
        start = time.perf_counter()
        loss = run(_CHUNK)
        seconds += time.perf_counter() - start
        done += _CHUNK
    return {
        **_result(done, seconds, loss),
        "learning_rate": rate,
        "planned": steps,
    }


def _adam_steps(rate: float, steps: int, seed: int) -> Callable[[int], float]:
    """Return `run(count) -> loss` of so many steps, already traced."""
    model = network(seed, "float64")
    x, y = map(tf.constant, examples(seed))
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(model.trainable_variables)

    @tf.function
    def run(count: tf.Tensor) -> tf.Tensor:
        loss = tf.constant(0.0, tf.float64)
        for _ in tf.range(count):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x) - y))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
        return loss

    run(tf.constant(0))
    return lambda count: float(run(tf.constant(count)))


def _result(steps: int, seconds: float, loss: float) -> dict:
    return {
        "steps": steps,
        "seconds": seconds,
        "loss": float(loss),
        "reached": bool(loss <= GOAL),
    }


def _rows(lines: list[dict]) -> list[list[str]]:
    """Return a row for each method, over all seeds."""
    rows = []
    for name in (*OURS, ADAM):
        runs = [line["methods"][name] for line in lines]
        ratios = [
            line["methods"][ADAM]["seconds"] / line["methods"][name]["seconds"]
            for line in lines
        ]
        reached = sum(run["reached"] for run in runs)
        rows.append(
            [
                name,
                f"{reached} of {len(runs)}",
                f"{statistics.median(run['loss'] for run in runs):.1e}",
                f"{statistics.median(run['steps'] for run in runs):,.0f}",
                _spread([run["seconds"] for run in runs], ".1f"),
                "" if name == ADAM else _spread(ratios, ".1f"),
            ]
        )
    return rows


def _spread(values: list[float], form: str) -> str:
    return (
        f"{statistics.median(values):{form}} "
        f"({min(values):{form}} - {max(values):{form}})"
    )


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = [
        *("method", "at the goal", "loss", "steps", "seconds"),
        "times as fast as Adam",
    ]
    return "\n".join(
        [
            *markdown.table(titles, _rows(lines)),
            "",
            f"A network of {network(0).count_params()} weights learns what one "
            f"of {TEACHER} hidden units makes of {ROWS:,} rows of {INPUTS} "
            f"numbers, to a mean squared error of {GOAL:g}, in float64. "
            f"{len(lines)} seeds of problem and weights; medians (least - "
            "most); ratios of the same seed. Full-batch methods: the whole "
            "call of `kbp.training.minimize`. Adam (Keras): the steps alone, "
            "on all rows, at the best for each seed of learning rates "
            f"{_listed(RATES)} with a cosine to 0 in {_listed(STEPS)} steps; "
            "where it does not reach the goal, seconds are those of its best "
            "try, and the ratio is a lower bound. "
            + provenance(lines[0], lines),
        ]
    )


def _listed(values: tuple) -> str:
    *most, last = (f"{value:,}" for value in values)
    return f"{', '.join(most)} and {last}"


FULL_BATCH = register(
    Cases(
        name="full-batch",
        cases=CASES,
        measure=lambda name, rounds: measure(CASES[name]),
        show=lambda line: "\n".join(map(markdown.row, _rows([line]))),
        markdown_table=markdown_table,
    )
)
