"""What a person's own model is compiled with, and its examples."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from rich.console import Console

import kbp
from kbp.errors import UserError
from kbp.training.own_models.compiled import compile_arguments, copied
from kbp.training.own_models.description import description
from kbp.training.own_models.splits import split

X = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def build(loss="binary_crossentropy", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, activation="relu"),
            layers.Dense(1, activation="sigmoid", name="last"),
        ],
        name="mine",
    )
    model.compile("sgd", loss, **options)
    return model


class Near(keras.Metric):
    """Its `get_config` lacks the threshold, so nothing can be made of it."""

    def __init__(self, threshold, also=None, name="near"):
        super().__init__(name=name)
        self.threshold = threshold
        self.inner, self.also = keras.metrics.Mean(name="inner"), also
        self.parts = [self.add_weight(name=x, initializer="ones") for x in "ab"]
        self.judge = self.is_near

    def is_near(self, y_true, y_pred):
        near = keras.ops.abs(y_true - y_pred) < self.threshold
        return keras.ops.cast(near, "float32") + 0 * self.parts[0]

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.inner.update_state(self.judge(y_true, y_pred))
        self.parts[1].assign_add(2.0)
        if self.also:
            self.also.update_state(y_true, y_pred)

    def result(self):
        more = self.also.result() if self.also else 0.0
        return self.inner.result() * self.parts[1] + more


METRICS = {
    "own": lambda: Near(0.4),
    "own with own": lambda: Near(0.4, Near(0.3, name="within")),
    "wrapper": lambda: keras.metrics.MeanMetricWrapper(lambda a, b: a - b, "m"),
    "AUC": lambda: keras.metrics.AUC(num_thresholds=20),
    "not built": lambda: keras.metrics.F1Score(average="macro", threshold=0.4),
    "threshold": lambda: keras.metrics.BinaryAccuracy(threshold=0.3),
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("which", METRICS)
def test_a_copied_metric_computes_the_same_and_shares_no_state(which, used):
    metric, other = METRICS[which](), METRICS[which]()
    outputs = np.linspace(0, 1, 80, dtype="float32")[:, None]
    if used:
        metric.update_state(Y, outputs)
    state = [keras.ops.copy(x) for x in metric.variables]
    copy = copied(metric)
    assert type(copy) is type(metric)
    assert copy.name == metric.name
    assert description(copy) == description(metric)
    copy.reset_state()
    copy.update_state(Y, outputs)
    other.reset_state()
    other.update_state(Y, outputs)
    np.testing.assert_allclose(copy.result(), other.result())
    for before, now in zip(state, metric.variables, strict=True):
        np.testing.assert_array_equal(before, now)


def test_compress_leaves_the_metrics_of_a_model_as_they_are(tmp_path):
    metric, weighted = Near(0.4), keras.metrics.AUC(num_thresholds=20)
    model = build(metrics=[metric], weighted_metrics=[weighted])
    model.fit(X, Y, verbose=0)
    before = [np.array(x.value) for x in metric.variables + weighted.variables]
    result = kbp.compress(
        model,
        (X, Y),
        quantize=False,
        workdir=tmp_path / "run",
        console=Console(file=io.StringIO()),
    )
    assert result.run["metric"] == "near"
    after = [np.array(x.value) for x in metric.variables + weighted.variables]
    np.testing.assert_equal(after, before)


def test_one_metric_needs_no_list():
    for metric in ("accuracy", keras.metrics.AUC(), lambda a, b: a - b):
        found = compile_arguments(build(), None, metric)["metrics"]
        assert isinstance(found, list)
        assert len(found) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "sparse_crossentropy"},
            "`loss` names no loss .*'sparse_categorical_crossentropy'",
        ),
        (
            {"loss": {"last": "mea"}},
            "`loss` names no loss .*'mea'; near are .*'mae'",
        ),
        ({"metrics": "acuracy"}, "names no metric .* near are 'accuracy'"),
        ({"metrics": ["mae", "Recal"]}, "'Recal'; near are 'Recall'"),
        ({"metrics": {"last": ["xyzzy"]}}, "'xyzzy'; known: AUC, "),
    ],
)
def test_a_name_that_keras_does_not_know_is_named(options, message):
    given = {"loss": None, "metrics": None, **options}
    with pytest.raises(UserError, match=message) as raised:
        compile_arguments(build(), **given)
    assert "\n" not in str(raised.value)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mse", "Huber", "BinaryCrossentropy"])
def test_names_that_keras_knows_are_taken(name):
    assert compile_arguments(build(), name, None)["loss"] == name
    for metric in ("acc", "ce", "mae", "AUC"):
        assert compile_arguments(build(), None, metric)["metrics"] == [metric]


@pytest.mark.parametrize("key", ["skip", "allow_float"])
def test_a_word_is_no_list_of_names(key, tmp_path):
    with pytest.raises(ValueError, match=f"`{key}` must be a list of names"):
        kbp.compress(build(), (X, Y), workdir=tmp_path / "r", **{key: "last"})
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("apart", "message"), [(True, "to judge on have"), (False, "to train on")]
)
def test_weights_are_judged_after_the_tenth_was_set_apart(apart, message):
    tenth = np.arange(80) % 10 == 9
    weights = (tenth != apart).astype("float32")
    data = X, Y, weights
    with pytest.raises(UserError, match=f"every tenth .*{message}.* zero"):
        split(build(), data, None, None, loss="mse", batch_size=8)
    split(build(), data, None, (X, Y), loss="mse", batch_size=8)


@pytest.mark.long
def test_a_generator_whose_values_change_is_warned_of_once(tmp_path):
    passes = []

    def changing():
        passes.append(1)
        for start in range(0, 80, 16):
            part = slice(start, start + 16)
            yield X[part] + (len(passes) > 1), Y[part]

    printed = io.StringIO()
    result = kbp.compress(
        build(),
        changing,
        test=(X, Y),
        epochs=2,
        quantize=False,
        workdir=tmp_path / "run",
        console=Console(file=printed, width=200),
    )
    (warning,) = result.run["warnings"]
    assert "training data gave other examples when they were read" in warning
    assert printed.getvalue().count("gave other examples") == 1


@pytest.mark.parametrize("which", ["training", "validation", "test"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrong", [10, -1])
def test_an_index_without_a_row_in_any_example_is_named(which, stream, wrong):
    ids = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Flatten()(layers.Embedding(10, 3, name="words")(ids))
    model = keras.Model(ids, layers.Dense(1)(x))
    right = np.random.default_rng(0).integers(0, 10, (80, 4))
    bad = right.copy()
    bad[70, 1] = wrong
    given = {"training": right, "validation": right, "test": right, which: bad}
    parts = [(inputs, Y) for inputs in given.values()]
    if stream:
        parts = [tf.data.Dataset.from_tensor_slices(x).batch(16) for x in parts]
    with pytest.raises(
        UserError, match=f"The {which} .* {wrong} .*'tokens' of example 70.*ds"
    ):
        split(model, *parts, loss="mse", batch_size=8)


def test_a_model_in_float64_is_refused_by_its_layer():
    keras.config.set_dtype_policy("float64")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="is of float64, and must be of"):
        compile_arguments(model, None, None)
