"""What tells a person's model and data from others'."""

import decimal
import functools
import os
import subprocess
import sys
import threading
import types

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

import kbp
from kbp.data.feeds import feed
from kbp.data.formats.arrays import FeedSplits
from kbp.training.own_models.description import description
from kbp.training.own_models.identity import identity

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


@pytest.mark.long
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


class Scaled(keras.losses.Loss):
    """Leaves its scale out of `get_config`."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.calls = 0

    def call(self, y_true, y_pred):
        self.calls = self.calls + 1
        return self.scale * keras.ops.mean((y_true - y_pred) ** 2, -1)


class Within(keras.Metric):
    """Leaves its threshold out of `get_config`."""

    def __init__(self, threshold):
        super().__init__(name="within")
        self.threshold = threshold
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        near = keras.ops.abs(y_true - y_pred) < self.threshold
        self.total.assign_add(keras.ops.sum(keras.ops.cast(near, "float32")))

    def result(self):
        return self.total


class Strict(keras.metrics.AUC):
    def __init__(self, margin):
        super().__init__(num_thresholds=5)
        self.margin = margin

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred - self.margin, sample_weight)


class Settings:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale


def reading(names, body="HELD[0]"):
    names = {"keras": keras, **names}
    exec(f"def loss(a, b):\n    return {body} * (a - b)", names)
    return names["loss"]


def in_module(scale):
    module = types.ModuleType("settings_of_mine")
    module.SCALE, module.HISTORY = scale, np.random.random()
    return reading({"settings": module}, "settings.SCALE")


def holding(held):
    return lambda a, b: of_two(held, a, b)


def in_class(scale):
    class Local:
        factor = scale

        @staticmethod
        def of(a, b):
            return scale * (a - b)

    return Local


def teacher(scale):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.set_weights([np.array([[scale]]), np.zeros(1)])
    return model


# Each makes a loss or metric from a number, which alone tells it from others.
HOLDERS = {
    "loss without get_config": Scaled,
    "metric without get_config": Within,
    "metric of a library's kind": Strict,
    "global dict": lambda x: reading({"HELD": {0: x}}),
    "global list": lambda x: reading({"HELD": [x]}),
    "global list in a dict": lambda x: reading({"HELD": [{"a": [x]}]}),
    "global tensor": lambda x: reading({"HELD": tf.constant([x])}),
    "global variable": lambda x: reading({"HELD": tf.Variable([x])}),
    "global ragged tensor": lambda x: reading(
        {"HELD": tf.ragged.constant([[0.0] * 2000, [x]])}
    ),
    "global object": lambda x: reading({"HELD": Weighed(x)}, "HELD.scale"),
    "global class": lambda x: reading({"HELD": in_class(x)}, "HELD.factor"),
    "global set": lambda x: reading({"HELD": {"a", "b", x}}, "sum(HELD)"),
    "global series": lambda x: reading({"HELD": pd.Series([x, None])}),
    "global table": lambda x: reading({"HELD": pd.DataFrame({"a": [x]})}),
    "global module": in_module,
    "global bytes": lambda x: reading({"HELD": str(x).encode()}),
    "method of an object": lambda x: Weighed([x]).judge,
    "method of a dict": lambda x: {"a": x}.get,
    "closure over an object": lambda x: holding(Weighed(x)),
    "closure over slots": lambda x: holding(Settings(x)),
    "closure over a namespace": lambda x: holding(
        types.SimpleNamespace(a={"b": x})
    ),
    "closure over a model": lambda x: holding(teacher(x)),
    "closure over a class": lambda x: holding(in_class(x)),
    "closure over objects": lambda x: holding(np.array([x, "a"], object)),
    "closure over decimals": lambda x: holding([decimal.Decimal(x)]),
    "cached function": lambda x: functools.lru_cache(own(x)),
    "traced function": lambda x: tf.function(own(x)),
    "numbers and words": lambda x: holding(x if x == 1.0 else "1.0"),
}


@pytest.mark.parametrize("which", HOLDERS)
def test_whatever_a_loss_or_metric_holds_tells_it_from_others(which):
    make = HOLDERS[which]
    assert description(make(1.0)) != description(make(2.0))
    assert description(make(1.0)) == description(make(1.0))
    assert told(loss=make(1.0)) != told(loss=make(2.0))


@pytest.mark.parametrize("which", ["metric", "auc", "loss", "traced", "cached"])
def test_what_training_leaves_in_an_object_is_no_difference(which):
    made = {
        "metric": (["mse"], lambda: Within(1.0)),
        "auc": (["mse"], lambda: Strict(0.5)),
        "loss": ([], lambda: Scaled(1.0)),
        "traced": ([], lambda: tf.function(own(2.0))),
        "cached": ([], lambda: Weighed(functools.lru_cache(own(1.0))).scale),
    }
    first, make = made[which]
    used = make()
    before = description(used)
    model = build()
    loss, *metrics = [*first, used]
    model.compile("sgd", loss, metrics=metrics)
    labels = (Y > 0.5).astype("float32")
    if which == "cached":
        used(1.0, 2.0)
    else:
        model.fit(X, labels, verbose=0)
    assert description(used) == before == description(make())


def stepping(factor, of_class=1.0):
    class Mine(keras.Model):
        weight = of_class

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = factor * self.compute_loss(x, y, self(x, training=True))
            found = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(found, self.trainable_variables)
            return {"loss": loss}

    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return Mine(inputs, layers.Dense(1)(inputs), name="mine")


def test_another_train_step_is_told_apart():
    assert told(stepping(1.0)) == told(stepping(1.0))
    assert told(stepping(1.0)) != told(stepping(0.0))
    assert told(stepping(1.0)) != told(stepping(1.0, of_class=2.0))
    warmer = stepping(1.0)
    warmer.temperature = 2.0
    assert told(warmer) != told(stepping(1.0))


def test_a_global_that_is_only_named_like_an_attribute_is_no_part():
    def loss(history):
        return reading({"mean": history, "HELD": [1]}, "HELD[0] * keras.mean")

    assert description(loss([1])) == description(loss([2]))


def test_objects_that_hold_each_other_have_an_end():
    one, other = Weighed(1.0), Weighed(2.0)
    one.other, other.other = other, one
    one.nested = nested = []
    nested.append(nested)
    deep = []
    for _ in range(3000):
        deep = [deep]
    assert description([one, deep]) == description([one, deep])


def test_what_cannot_be_described_is_a_name_without_an_address():
    found = description([threading.Lock(), (x for x in "ab"), open, iter("a")])
    assert found == description(
        [threading.Lock(), (x for x in "ab"), open, iter("a")]
    )


@pytest.mark.long
def test_another_process_finds_the_same():
    code = (
        "from test_identity import FUNCTIONS, HOLDERS\n"
        "from kbp.training.own_models.description import description\n"
        "import hashlib\n"
        "text = ''.join(description(list(x)) for x in FUNCTIONS.values())\n"
        "text += ''.join(description(x(1.0)) for x in HOLDERS.values())\n"
        "text += description(lambda a: a in {'x', 'y', 'z', 'w'})\n"
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
