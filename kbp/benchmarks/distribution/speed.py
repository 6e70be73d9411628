"""Steps a second on several devices and workers.

The devices are logical ones of the same processor, which share its cores: the
figures say what distribution costs, not what it gains.
"""

import json
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp._utils.files import write_atomically
from kbp.optimizers import HybridOptimizer
from kbp.training import distribution

# Devices of a process, and processes.
DEVICES = {
    "one device": (1, 1),
    "2 devices": (2, 1),
    "4 devices": (4, 1),
    "2 workers": (1, 2),
}
BATCH_SIZE, STEPS, TOGETHER = 64, 33, 8
KERAS = "AdamW (Keras)"


def _adam():
    return keras.optimizers.AdamW(1e-3, amsgrad=True)


# How to make the optimizer, whether Keras is mended, and steps at a time.
VARIANTS = {
    KERAS: (_adam, False, 1),
    "AdamW, seeds of dropout vary": (_adam, True, 1),
    "HybridOptimizer": (HybridOptimizer, True, 1),
    f"HybridOptimizer, {TOGETHER} steps at once": (
        HybridOptimizer,
        True,
        TOGETHER,
    ),
}


def speeds(case: str, rounds: int) -> dict:
    """Measure the steps per second of all variants, in turns.

    Returns:
        `figures`: for each variant its `median` and `quartiles`, and `ratio`,
        the median of a step's time relative to Keras's own in the same round.
    """
    devices, workers = DEVICES[case]
    if workers > 1:
        strategy = distribution.create_strategy("multi_worker")
    elif devices > 1:
        strategy = distribution.create_strategy("mirrored")
    else:
        strategy = distribution.create_strategy("one_device")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(512, 16, 16, 3)).astype("float32")
    examples = data.Examples(images, rng.integers(0, 10, 512))
    batches = data.training_batches(examples, BATCH_SIZE, seed=0)
    fits = {name: _fit(strategy, batches, *VARIANTS[name]) for name in VARIANTS}
    taken: dict[str, list[float]] = {name: [] for name in fits}
    for i in range(rounds + 1):
        for name, fit in fits.items():
            seconds = fit()
            if i:  # the first round traces
                taken[name].append(seconds)
    usual = taken[KERAS]
    return {
        "figures": {
            name: {
                "median": 1 / statistics.median(values),
                "quartiles": np.percentile(
                    1 / np.array(values), (25, 75)
                ).tolist(),
                "ratio": statistics.median(
                    a / b for a, b in zip(values, usual, strict=True)
                ),
            }
            for name, values in taken.items()
        }
    }


def _fit(strategy, batches, make_optimizer, mended, together):
    """Return a function that fits some steps and returns the seconds of one."""
    layers = keras.layers
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Conv2D(32, 3),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(10),
            ]
        )
        model.compile(
            make_optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=together,
        )
    if mended:
        distribution.prepare(model, steps_per_execution=together)

    def fit():
        clock = _Clock()
        model.fit(
            batches,
            steps_per_epoch=together * (1 + STEPS // together),
            callbacks=[clock],
            shuffle=False,
            verbose=0,
        )
        return clock.seconds()

    return fit


class _Clock(keras.callbacks.Callback):
    """Records the time after each execution of steps."""

    def on_train_begin(self, logs=None):
        self.times, self.steps = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())
        self.steps.append(batch)

    def seconds(self):
        span = self.times[-1] - self.times[0]
        return span / (self.steps[-1] - self.steps[0])


def main(case: str, rounds: str, file: str) -> None:
    """Measure in this process, with the devices of a case."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * DEVICES[case][0],
    )
    write_atomically(file, json.dumps(speeds(case, int(rounds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
