"""What tells a person's model and data from others'."""

import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kbp
from kbp.data.feeds import feed
from kbp.data.formats.arrays import FeedSplits
from kbp.training.identity import identity

X = np.random.default_rng(0).random((20, 4), "float32")
Y = X[:, :1]


def build(activation="relu"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation=activation)(inputs)
    return keras.Model(inputs, layers.Dense(1)(x), name="mine")


def told(model=None, x=X, y=Y, loss="mse", stream=False):
    data = (x, y)
    if stream:
        data = tf.data.Dataset.from_tensor_slices(data).batch(5)
    given = feed(data, {"x": (4,)}, "The data")
    test = feed((X, Y), {"x": (4,)}, "The data")
    splits = FeedSplits(given, (), test, (4,))
    return identity(model or build(), splits, {"loss": loss})


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_made_again_is_the_same(stream):
    assert told(stream=stream) == told(stream=stream)


def test_training_on_changes_the_digest_of_the_weights_alone():
    model = build()
    before = told(model)
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    after = told(model)
    changed = {
        f"{section}.{key}"
        for section, keys in after.items()
        for key, value in keys.items()
        if value != before[section][key]
    }
    assert changed == {"model.weights_digest"}


@pytest.mark.parametrize(
    "other",
    [
        lambda: {"model": build("tanh")},
        lambda: {
            "model": kbp.graph.as_functional(
                keras.Sequential([keras.Input((4,)), layers.Dense(1)])
            )
        },
        lambda: {"loss": "mae"},
        lambda: {"loss": keras.losses.Huber(2.0)},
        lambda: {"x": X + 1},
        lambda: {"y": Y + 1},
        lambda: {"x": X[:10], "y": Y[:10]},
    ],
    ids=range(7),
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_differs_is_told_apart(other, stream):
    usual = told(loss=keras.losses.Huber(1.0), stream=stream)
    options = {"loss": keras.losses.Huber(1.0), **other()}
    assert told(stream=stream, **options) != usual


def own(scale=1.0, *, shift=0.0):
    def loss(y_true, y_pred, power=2):
        return keras.ops.mean((y_pred - y_true - shift) ** power) * scale

    return loss


def of_two(scale, y_true, y_pred):
    return scale * keras.ops.mean(keras.ops.abs(y_true - y_pred))


class Weighed:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, y_true, y_pred):
        return of_two(self.scale, y_true, y_pred)

    def judge(self, y_true, y_pred):
        return self(y_true, y_pred)


def with_default(scale):
    return lambda a, b, scale=scale: of_two(scale, a, b)


def with_table(value):
    table = np.zeros(5000)
    table[2500] = value
    return lambda a, b: of_two(table, a, b)


FUNCTIONS = {
    "body": (lambda a, b: (a - b) ** 2, lambda a, b: (a + b) ** 2),
    "constant": (lambda a, b: 2.0 * (a - b), lambda a, b: 3.0 * (a - b)),
    "called": (
        lambda a, b: keras.ops.sum(a - b),
        lambda a, b: keras.ops.mean(a - b),
    ),
    "inner": (
        lambda a, b: (lambda c: 2.0 * c)(a - b),
        lambda a, b: (lambda c: 3.0 * c)(a - b),
    ),
    "closure": (own(1.0), own(2.0)),
    "closure by name": (own(shift=0.5), own(shift=1.0)),
    "default": (with_default(1.0), with_default(2.0)),
    "array": (with_table(1.0), with_table(2.0)),
    "partial": (functools.partial(of_two, 1.0), functools.partial(of_two, 2.0)),
    "object": (Weighed(1.0), Weighed(2.0)),
    "method": (Weighed(1.0).judge, Weighed(2.0).judge),
    "metric": (
        keras.metrics.MeanMetricWrapper(own(1.0), name="mine"),
        keras.metrics.MeanMetricWrapper(own(2.0), name="mine"),
    ),
}


@pytest.mark.parametrize("which", FUNCTIONS)
def test_functions_of_ones_own_are_told_by_what_they_do(which):
    first, second = FUNCTIONS[which]
    assert told(loss=first) != told(loss=second)
    assert told(loss={"a": [first]}) != told(loss={"a": [second]})
    assert told(loss=first) == told(loss=first)


def test_a_function_made_again_is_the_same():
    assert told(loss=own(2.0)) == told(loss=own(2.0))
    assert told(loss=Weighed(2.0)) == told(loss=Weighed(2.0))


def test_a_setting_beside_a_function_counts():
    def under(scale):
        names = {"SCALE": scale}
        exec("def loss(a, b):\n    return SCALE * (a - b)", names)
        return names["loss"]

    assert told(loss=under(1.0)) != told(loss=under(2.0))
    assert told(loss=under(1.0)) == told(loss=under(1.0))


def test_a_function_that_holds_itself_has_an_end():
    def again(a, b):
        return again(b, a) if a is None else a - b

    assert told(loss=again) == told(loss=again)


def test_another_process_finds_the_same():
    code = (
        "from test_identity import FUNCTIONS\n"
        "from kbp.training.identity import _described\n"
        "import hashlib\n"
        "text = ''.join(_described(list(x)) for x in FUNCTIONS.values())\n"
        "text += _described(lambda a: a in {'x', 'y', 'z', 'w'})\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=os.path.dirname(__file__),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
