"""What techniques do besides what all of them do, see test_keys.py."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import small

from kbp import models
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.sparsity import masked_layers
from kbp.sparsity.masks import hard_mask
from kbp.training import callbacks
from kbp.training.techniques.early_stopping import EarlyStopping
from kbp.training.techniques.keep_best import load_weights
from kbp.training.techniques.loss_scale import ScaledLoss
from kbp.training.techniques.rematerialize import Rematerialize
from kbp.training.techniques.technique import TECHNIQUES, Stage


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Recipe.parse(small.table(tmp_path_factory.mktemp("data")))


class _Own(keras.Model):
    def call(self, inputs):
        return inputs


def stage(recipe=None, best=None, **options):
    known = {
        "name": "train",
        "task": SimpleNamespace(recipe=recipe),
        "best": best,
        "precision": "float32",
        "epochs": 40,
        "seed": 0,
        "schedule": None,
        "validation": None,
    }
    return Stage(**known | options)


def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((6, 4))
    x = layers.MultiHeadAttention(2, 4, dropout=0.1)(inputs, inputs)
    x = layers.Dense(8, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.5, seed=1)(x)
    x = layers.Dense(8, activation="relu")(x)
    outputs = layers.Dense(3)(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Of the bias of attention's keys all gradients are rounding errors, which
    # Adam would make steps of.
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def segmenting():
    keras.utils.set_random_seed(0)
    model = models.PyramidBPNet((16, 16, 3), 2, head="segmentation", width=4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


@pytest.mark.long
@pytest.mark.usefixtures("improved_graphs")
@pytest.mark.parametrize("make", [network, segmenting])
def test_what_is_computed_twice_learns_the_same(make):
    rng = np.random.default_rng(0)
    one, two = make(), make()
    x = rng.normal(size=(64, *one.input_shape[1:])).astype("float32")
    y = rng.integers(0, 2, (64, *one.output_shape[1:-1]))
    one.fit(x, y, verbose=0, shuffle=False, epochs=3)
    with Rematerialize(stage()).learning(two):
        assert "call" in vars(two)
        two.fit(x, y, verbose=0, shuffle=False, epochs=3)
    assert "call" not in vars(two)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("min_delta", [0.0, 0.05])
def test_early_stopping_ends_where_that_of_keras_does(
    monitor, min_delta, tmp_path
):
    rng = np.random.default_rng(3)
    values = 1 / (1 + np.arange(40)) + rng.normal(0, 0.05, 40)
    falls = monitor == "val_loss"
    values = values if falls else 1 - values
    table = {"patience": 4, "monitor": monitor, "min_delta": min_delta}
    recipe = Recipe.parse({"training": {"early_stopping": table}})
    own = EarlyStopping(stage(recipe, tmp_path / "best.npz"))
    peer = keras.callbacks.EarlyStopping(
        **table, mode="min" if falls else "max", restore_best_weights=True
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for callback in (own, peer):
        callback.set_model(model)
    peer.on_train_begin()
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        model.stop_training = False
        peer.on_epoch_end(epoch, {monitor: value})
        expected = model.stop_training
        own.on_epoch_end(epoch, {monitor: value})
        assert own.stopped == expected, epoch
        if expected:
            break
    assert own.stopped
    peer.on_train_end()
    expected = float(model.get_weights()[0][0, 0])
    load_weights(tmp_path / "best.npz", model)
    assert float(model.get_weights()[0][0, 0]) == expected < epoch


def test_an_epoch_without_a_figure_is_not_the_best(tmp_path):
    table = {"patience": 3}
    recipe = Recipe.parse({"training": {"early_stopping": table}})
    own = EarlyStopping(stage(recipe, tmp_path / "best.npz"))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    own.set_model(model)
    for epoch, value in enumerate([math.nan, 3.0, math.nan, 1.0, 2.0]):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        own.on_epoch_end(epoch, {"val_loss": value})
    assert not own.stopped
    load_weights(tmp_path / "best.npz", model)
    assert float(model.get_weights()[0][0, 0]) == 3


@pytest.mark.long
def test_stage_that_stopped_early_ends_with_its_best_epoch(base, tmp_path):
    recipe = base.with_settings(
        [
            "training.early_stopping={patience = 1, min_delta = 10.0}",
            "training.epochs=9",
        ]
    )
    model = small.trained(recipe, tmp_path / "run")
    rows = callbacks.read_metrics(tmp_path / "run" / "metrics.csv")
    assert len(rows) == 2  # the first one was the best
    with np.load(tmp_path / "run" / "checkpoints" / "train.best.npz") as kept:
        first = kept["arr_0"]
    np.testing.assert_array_equal(model.get_weights()[0], first)


@pytest.mark.long
def test_masks_close_before_early_stopping_counts(base, tmp_path):
    recipe = base.with_settings(
        [
            "training.early_stopping={patience = 1, min_delta = 10.0}",
            *("training.epochs=10", "sparsity.target=0.5", "sparsity.end=0.5"),
        ]
    )
    small.trained(recipe, tmp_path / "run")
    rows = callbacks.read_metrics(tmp_path / "run" / "metrics.csv")
    assert len(rows) == 6
    assert float(rows[-1]["sparsity"]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.long
def test_averages_have_masks_of_their_own(base, tmp_path):
    recipe = base.with_settings(
        ["optimizer.averaging=ema", "sparsity.target=0.5"]
    )
    model = small.trained(recipe, tmp_path / "run")
    layers = [*masked_layers(model)]
    kept = sum(hard_mask(layer).sum() for layer in layers)
    size = sum(hard_mask(layer).size for layer in layers)
    assert kept / size == pytest.approx(0.5, abs=0.03)


@pytest.mark.long
def test_float16_says_which_steps_were_skipped(base, tmp_path):
    recipe = base.with_settings(["training.precision=mixed_float16"])
    small.trained(recipe, tmp_path / "run")
    for row in callbacks.read_metrics(tmp_path / "run" / "metrics.csv"):
        assert float(row["skipped_steps"]) >= 0
        assert float(row["loss_scale"]) <= 2**15


def test_float64_is_not_made_float16():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2),
            layers.Dense(2, name="exact", dtype="float64"),
        ]
    )
    with pytest.raises(UserError, match="turn layer 'exact' of float64 into"):
        ScaledLoss.check(None, model)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([keras.layers.Dense(2)], "no effect: model small is too small"),
        (
            [keras.layers.Dense(2, activity_regularizer="l2", name="a")] * 2,
            "layer a adds to the loss",
        ),
        (
            [keras.layers.Embedding(4, 2, mask_zero=True, name="b")],
            "layer b gives a mask",
        ),
    ],
)
def test_what_cannot_be_computed_twice_is_refused(layers, said):
    model = keras.Sequential([keras.Input((2,)), *layers], name="small")
    with pytest.raises(UserError, match=said):
        Rematerialize.check(None, model)


def test_a_model_without_a_graph_is_not_computed_twice():
    with pytest.raises(UserError, match="neither functional nor Sequential"):
        Rematerialize.check(None, _Own())


def test_smoothing_is_for_classes():
    task = SimpleNamespace(loss=keras.losses.Huber(), name="forecasting")
    with pytest.raises(UserError, match="label_smoothing is for the recipe's"):
        TECHNIQUES["label_smoothing"].check(task, None)


def test_no_recipe_asks_for_anything_by_default():
    for name in TECHNIQUES:
        assert not TECHNIQUES[name].is_asked(Recipe())
