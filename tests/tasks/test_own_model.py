"""Own models, layers and metrics that cannot go the whole road."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kbp
from kbp.errors import UserError

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
DATA = X, X.sum(axis=1)


class Scale(layers.Layer):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def call(self, inputs):
        return inputs * self.by


class Pair(keras.Metric):
    def __init__(self):
        super().__init__(name="pair")
        self.total = self.add_weight(initializer="zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(1.0)


class Named(Pair):
    def result(self):
        return {"low": self.total, "high": self.total}


class Vector(Pair):
    def result(self):
        return self.total * keras.ops.ones(2)


def never(y_true, y_pred):
    return keras.ops.mean(y_true) * float("nan")


def build(*middle, metrics=None, weight=None):
    model = keras.Sequential(
        [keras.Input((4,)), *middle, layers.Dense(1, name="last")], name="mine"
    )
    if weight is not None:
        model.set_weights([x * weight for x in model.get_weights()])
    model.compile("adam", "mse", metrics=metrics)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build(Scale(2.0)),
            r"\(Scale\) cannot .*keyword .*'trainable'",
        ),
        (lambda: build(weight=np.nan), "infinite weights: .*last/kernel"),
        (lambda: build(metrics=[Named()]), "Metric pair must .*: a dict"),
        (lambda: build(metrics=[Vector()]), r"Metric pair must .* \(2,\)"),
        (lambda: build(metrics=[never]), "Metric never of model mine is NaN"),
    ],
    ids=range(5),
)
def test_what_cannot_be_judged_or_made_again_is_named(make, message, tmp_path):
    with pytest.raises(UserError, match=message) as raised:
        kbp.compress(
            make(),
            DATA,
            quantization_epochs=0,
            workdir=tmp_path / "run",
            console=Console(file=io.StringIO()),
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rate", [None, "0.001", True, 0, -1.0, np.nan])
def test_a_rate_that_is_none_is_named(rate, tmp_path):
    with pytest.raises(ValueError, match="Argument `learning_rate` must be po"):
        kbp.compress(build(), DATA, learning_rate=rate, workdir=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_folder_that_cannot_be_is_named(name):
    with pytest.raises(UserError, match=r"`workdir` .* cannot be a folder"):
        kbp.compress(build(), DATA, workdir=name)


def test_streams_are_refused_where_batches_are_shuffled(tmp_path):
    lstm = kbp.layers.TruncatedRNN(keras.layers.LSTM(3), None, streams=4)
    layers = [keras.Input((5, 2)), lstm, keras.layers.Dense(1)]
    model = keras.Sequential(layers, name="mine")
    model.compile("sgd", "mse", metrics=["mae"])
    x = np.zeros((40, 5, 2), "float32")
    with pytest.raises(UserError, match="has streams, whose batches follow"):
        kbp.compress(model, (x, x[:, 0, :1]), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
