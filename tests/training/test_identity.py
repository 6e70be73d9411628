"""What tells a person's model and data from others'."""

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
