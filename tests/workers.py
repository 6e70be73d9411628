"""Workers that train together: `workers.py FILE [plain | epoch]` is one."""

import sys
from functools import partial

import keras
import numpy as np
import tensorflow as tf

import kbp
from kbp import data
from kbp.data.lazy import Lazy
from kbp.training import distribution


def finish(folder, processes):
    """Wait for workers to end well."""
    statuses = [process.wait(200) for process in processes]
    for index, status in enumerate(statuses):
        said = (folder / f"{index}.log").read_text()
        assert status == 0, said[-3000:]


def fitted(strategy, steps=50, steps_per_execution=5):
    """Train with everything that a strategy could get wrong.

    Returns:
        Weights, history, evaluation, and outputs.
    """
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(97, 6, 6, 2)).astype("float32")
    examples = data.Examples(x, rng.integers(0, 3, 97))
    layers = keras.layers
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Conv2D(4, 3, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Flatten(),
                layers.Dense(5, activation="tanh"),
                layers.Dropout(0.3),
                layers.Dropout(0.3, noise_shape=(None, 1)),
                layers.Dense(3),
            ]
        )
        model.compile(
            kbp.HybridOptimizer(
                0.003,
                matrix_steps=True,
                weight_decay=0.1,
                global_clipnorm=0.05,
                gradient_accumulation_steps=2,
                use_ema=True,
                ema_overwrite_frequency=5,
            ),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=steps_per_execution,
        )
    distribution.prepare(
        model,
        steps_per_execution=steps_per_execution,
        synchronize_batch_norm=True,
    )
    # 97 examples are never even parts.
    size = distribution.evaluation_batch_size(strategy, 97, 16)
    every = data.evaluation_batches(examples, size)
    history = model.fit(
        data.training_batches(examples, 16, seed=3),
        epochs=2,
        steps_per_epoch=steps // 2,
        validation_data=every,
        shuffle=False,
        verbose=0,
    ).history
    return (
        model.get_weights(),
        np.array([history[key] for key in sorted(history)]),
        np.array(model.evaluate(every, verbose=0)),
        model.predict(every, verbose=0),
    )


class Noted(Lazy):
    """Numbers that note which of them are read at a time."""

    def __init__(self, count):
        super().__init__((count, 1), "float32")
        self.seen = []

    def read(self, indices):
        self.seen.append(indices.tolist())
        return indices[:, None].astype("float32")


def epoch(strategy):
    """Take an epoch of batches, and return what came and what was read."""
    held = Noted(50)
    examples = data.Examples(held, np.arange(50))
    batches = distribution.shared(
        strategy,
        partial(data.training_batches, examples, 12, seed=3, start_step=4),
    )
    taken = iter(batches)
    found = [
        np.concatenate(strategy.experimental_local_results(next(taken)[1]))
        for _ in range(4)
    ]
    return found, held.seen


if __name__ == "__main__":
    if sys.argv[2:] == ["epoch"]:
        labels, seen = epoch(distribution.create_strategy("multi_worker"))
        np.savez(sys.argv[1], labels=labels, seen=seen)
        sys.exit()
    if sys.argv[2:] == ["plain"]:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = distribution.create_strategy("multi_worker")
    weights, *rest = fitted(strategy)
    np.savez(sys.argv[1], *weights, *rest)
