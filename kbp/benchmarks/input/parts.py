"""The parts of a training's input by themselves, and its step."""

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from kbp import data
from kbp.data.waiting import WaitingClock
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import Task, make_task
from kbp.training.pipeline import Pipeline

STEP, TRAINING, TRANSFER = "training step", "training", "transfer"
_TURN = 0.3  # seconds
_MOST = 1000  # batches of a turn
# Runs a number of batches.
Part = Callable[[int], object]


def measure(recipe: Recipe, rounds: int, data_dir: str | None = None) -> dict:
    """Measure the parts of a recipe's training in turns.

    Args:
        recipe: whose data and model they are.
        rounds: in which each takes its turn; the order changes every time.
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
    runs = parts(pipeline.task, found[1], clock)
    counts = {name: _batches_of_a_turn(run) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    waited = []
    for i in range(rounds):
        names = [*runs] if i % 2 else [*reversed(runs)]
        for name in names:
            clock.reset()
            taken = _seconds(runs[name], counts[name])
            seconds[name].append(taken / counts[name])
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
) -> dict[str, Part]:
    """Return what runs each part for a number of batches, by name.

    Args:
        task: whose examples they are.
        model: a compiled one, which is trained.
        clock: of the whole training's waiting.
    """
    batch = next(iter(task.training_batches(seed=0)))
    train = _trained_on(model)
    found = {}
    if isinstance(task.splits, data.Splits):
        plain = data.training_batches(
            task.splits.train, task.batch_size, seed=0
        )
        found["reading"] = _taken_from(plain)
        if augment := task.augment():
            x, y = next(iter(plain))
            found["augmentation"] = _taken_from(
                tf.data.Dataset.range(2**62)
                .map(
                    lambda step: augment(x, y, tf.stack([step, step])),
                    num_parallel_calls=tf.data.AUTOTUNE,
                )
                .prefetch(tf.data.AUTOTUNE)
            )
    found["all of the input"] = _taken_from(task.training_batches(seed=0))
    if device := accelerator():
        found[TRANSFER] = partial(_send, batch, device)
    found[STEP] = train(tf.data.Dataset.from_tensors(batch).repeat())
    found[TRAINING] = train(clock.timed(task.training_batches(seed=0)))
    return found


def _taken_from(batches: tf.data.Dataset) -> Part:
    taken = iter(batches)
    return lambda count: [*itertools.islice(taken, count)][:0]


def _trained_on(model: keras.Model) -> Callable[[tf.data.Dataset], Part]:
    model.make_train_function()

    def train(batches: tf.data.Dataset) -> Part:
        taken = iter(batches)

        def run(count: int) -> None:
            for _ in range(count):
                logs = model.train_function(taken)
            float(logs["loss"])  # what runs beside this process has ended

        return run

    return train


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


def _seconds(run: Part, count: int) -> float:
    start = time.perf_counter()
    run(count)
    return time.perf_counter() - start


def _batches_of_a_turn(run: Part) -> int:
    run(2)  # which traces, and fills what is made ready
    return min(_MOST, max(2, round(_TURN / (_seconds(run, 2) / 2))))
