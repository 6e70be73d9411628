"""The share of a training that waits for data, where people look for it."""

import csv
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbp.data.waiting import WaitingClock
from kbp.reports.metrics_file import said_of_waiting, waiting_share
from kbp.training.callbacks import MetricsLog, Waiting

STEPS = 20


def slow(data, seconds):
    """Let each element take its time, one after the other."""

    def wait(x):
        time.sleep(seconds)
        return x

    def pass_on(x, y):
        z = tf.numpy_function(wait, [x], x.dtype)
        z.set_shape(x.shape)
        return z, y

    return data.map(pass_on)


def batches():
    x = np.ones((4, 2), "float32")
    return tf.data.Dataset.from_tensors((x, x[:, :1])).repeat()


class Step(keras.callbacks.Callback):
    """Makes steps take long."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)


def fitted(data, *others, validation=None, measured=True):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    waiting = Waiting(measured=measured)
    model.fit(
        batches(), steps_per_epoch=2, verbose=0, shuffle=False
    )  # traced before
    history = model.fit(
        waiting.timed(data),
        steps_per_epoch=STEPS,
        epochs=2,
        validation_data=validation,
        callbacks=[waiting, *others],
        verbose=0,
        shuffle=False,
    )
    return history.history, model


def test_a_training_that_waits_is_known_from_one_that_does_not():
    waits, _ = fitted(slow(batches(), 0.02))
    has_all, _ = fitted(batches(), Step())
    assert min(waits["waiting"]) > 0.6
    assert max(has_all["waiting"]) < 0.3


def test_what_is_made_ready_during_a_step_is_not_waited_for():
    both, _ = fitted(slow(batches(), 0.01).prefetch(4), Step())
    assert max(both["waiting"]) < 0.5  # 0.01 of 0.03 if nothing were


@pytest.mark.long
def test_the_validation_does_not_count():
    validation = slow(batches(), 0.05).take(10)
    seen, _ = fitted(slow(batches(), 0.02), validation=validation)
    assert min(seen["waiting"]) > 0.6


def test_timed_batches_train_the_same_bytes():
    _, one = fitted(batches())
    seen, other = fitted(batches(), measured=False)
    assert "waiting" not in seen
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_elements_of_any_structure_pass():
    clock = WaitingClock()
    data = tf.data.Dataset.from_tensors(({"a": 1, "b": (2, 3)}, 4.0))
    (found,) = clock.timed(data)
    (given,) = data
    assert tf.nest.map_structure(float, found) == tf.nest.map_structure(
        float, given
    )
    clock.reset()
    assert clock.seconds == 0


def test_the_share_is_in_the_metrics_file_and_the_curves(tmp_path):
    logs = tmp_path / "logs"
    board = keras.callbacks.TensorBoard(logs, write_graph=False)
    file = tmp_path / "metrics.csv"
    fitted(slow(batches(), 0.02), MetricsLog(file, "train"), board)
    with file.open() as opened:
        rows = [*csv.DictReader(opened)]
    assert waiting_share(rows) > 0.6
    written = b"".join(p.read_bytes() for p in logs.rglob("*tfevents*"))
    assert b"epoch_waiting" in written


@pytest.mark.parametrize(
    ("share", "words", "advice"),
    [(None, "", False), (0.05, "5.0%", False), (0.06, "6.0%", True)],
)
def test_much_waiting_comes_with_advice(share, words, advice):
    said = said_of_waiting(share)
    assert words in said
    assert ("kbp benchmark input" in said) == advice
    assert said.count("\n") == bool(said)
