"""The parts of a training's input by themselves, and its step."""

import itertools
import statistics
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from kbp import data
from kbp.benchmarks.core.peers import (
    Start,
    batches_of_a_turn,
    taken_from,
)
from kbp.data.waiting import WaitingClock
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import Task, make_task
from kbp.training.pipeline import Pipeline

STEP, TRAINING, TRANSFER = "training step", "training", "transfer"
_TURN = 1.0  # seconds
Begin = Callable[[tf.data.Dataset], Start]


def measure(recipe: Recipe, rounds: int, data_dir: str | None = None) -> dict:
    """Measure the parts of a recipe's training in turns.

    Args:
        recipe: whose data and model they are.
        rounds: in which each takes its turn of a second, after one that does
            not count; the order changes every time.
        data_dir: folder of the data sets that are read from files.

    Returns:
        `parts`: by the name of each, `speed`, the median of images per second,
        its `quartiles`, and `ratio`, the median of the rounds' ratios to the
        training step. `waiting`: the median share of the time that the whole
        training waited. `batch_size` and `rounds`.

    Raises:
        UserError: the recipe trains nothing.
    """
    recipe = recipe.with_settings(
        ["training.strategy=one_device", "training.steps_per_execution=1"]
    )
    make = partial(make_task, recipe, data_dir)
    pipeline = Pipeline(recipe, None, make, Console(quiet=True))
    found = next(iter(pipeline.compiled()), None)
    if not found:
        raise UserError("the recipe trains nothing: both its epochs are 0")
    clock = WaitingClock()
    starts = parts(pipeline.task, found[1], clock)
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    waited = []
    for i in range(rounds + 1):
        names = [*starts] if i % 2 else [*reversed(starts)]
        for name in names:
            count, taken = batches_of_a_turn(starts[name], _TURN, clock.reset)
            if i == 0:
                continue  # which traces, and fills the caches of files
            seconds[name].append(taken / count)
            if name == TRAINING:
                waited.append(clock.seconds / taken)
    size = recipe.training.batch_size
    speeds = {name: size / np.array(x) for name, x in seconds.items()}
    return {
        "parts": {
            name: {
                "speed": statistics.median(x),
                "quartiles": np.percentile(x, (25, 75)).tolist(),
                "ratio": statistics.median(x / speeds[STEP]),
            }
            for name, x in speeds.items()
        },
        "waiting": statistics.median(waited),
        "batch_size": size,
        "rounds": rounds,
    }


def parts(
    task: Task, model: keras.Model, clock: WaitingClock
) -> dict[str, Start]:
    """Return what starts each part, by name.

    Args:
        task: whose examples they are.
        model: a compiled one, which is trained.
        clock: of the whole training's waiting.
    """
    batch = next(iter(task.training_batches(seed=0)))
    found: dict[str, Start] = {}
    seeds = itertools.count(1)

    def drawn(make: Callable[..., tf.data.Dataset], begin: Begin) -> Start:
        # Files that an earlier turn has read are in the system's cache.
        return lambda: begin(make(seed=next(seeds)))()

    if isinstance(task.splits, data.Splits):
        plain = partial(
            data.training_batches, task.splits.train, task.batch_size
        )
        found["reading"] = drawn(plain, taken_from)
        if augment := task.augment():
            x, y = next(iter(plain(seed=0)))
            found["augmentation"] = taken_from(
                tf.data.Dataset.range(2**62)
                .map(
                    lambda step: augment(x, y, tf.stack([step, step])),
                    num_parallel_calls=tf.data.AUTOTUNE,
                )
                .prefetch(tf.data.AUTOTUNE)
            )
    found["all of the input"] = drawn(task.training_batches, taken_from)
    if device := accelerator():
        found[TRANSFER] = lambda: partial(_send, batch, device)
    model.make_train_function()
    alone = tf.data.Dataset.from_tensors(batch).repeat()
    found[STEP] = _trained_on(model, alone)
    found[TRAINING] = drawn(
        task.training_batches,
        lambda batches: _trained_on(model, clock.timed(batches)),
    )
    return found


def _trained_on(model: keras.Model, batches: tf.data.Dataset) -> Start:
    def start() -> Callable[[int], object]:
        taken = iter(batches)

        def run(count: int) -> None:
            for _ in range(count):
                logs = model.train_function(taken)
            float(logs["loss"])  # what runs beside this process has ended

        return run

    return start


def accelerator() -> str | None:
    """Return the name of the device that batches are sent to, if it is one."""
    kinds = map(tf.config.list_logical_devices, ("GPU", "TPU"))
    return next((device.name for kind in kinds for device in kind), None)


def send(batch: tuple, device: str) -> tuple:
    """Return a batch of the host's memory as it is on a device."""
    with tf.device(device):
        return tf.nest.map_structure(tf.identity, batch)


def _send(batch: tuple, device: str, count: int) -> None:
    for _ in range(count):
        send(batch, device)
    tf.test.experimental.sync_devices()
