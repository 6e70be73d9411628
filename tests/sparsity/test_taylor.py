"""Scores by what the loss would lose, against the derivatives by hand."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp import sparsity
from kbp.errors import UserError

layers = keras.layers


def two_layers():
    inputs = keras.Input((4,))
    x = layers.Dense(8, activation="relu", name="inner")(inputs)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(2, name="outer")(x))


def gated(model, **options):
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False, **options
    )
    masked.compile("adam", "mse")
    return masked


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 4)), rng.normal(size=(24, 2))


def by_hand(model, x, y, batch_size):
    """Return `(g w)^2` of each inner unit, in float64, over batches."""
    kernel, bias = map(np.float64, model.get_layer("inner").get_weights())
    outer, last = map(np.float64, model.get_layer("outer").get_weights())
    squares = []
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        hidden = np.maximum(x[part] @ kernel + bias, 0.0)
        error = hidden @ outer + last - y[part]
        slopes = 2 * error / error.size  # of the mean squared error
        # A gate of one, behind the unit: d loss / d gate * gate.
        squares.append(np.sum(slopes @ outer.T * hidden, axis=0) ** 2)
    return np.mean(squares, axis=0)


def test_importance_is_that_of_the_formula(data):
    model = two_layers()
    x, y = data
    model = keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            layers.Activation("linear")
            if isinstance(layer, layers.Dropout)
            else layer.from_config(layer.get_config())
        ),
    )
    masked = gated(model)
    found = sparsity.taylor_importance(masked, x, y, batch_size=8)
    assert list(found) == ["inner_gate"]
    expected = by_hand(model, x, y, 8)
    np.testing.assert_allclose(found["inner_gate"], expected, rtol=1e-4)


def convolutional():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(2)(x))


@pytest.mark.long
def test_outputs_and_all_states_stay():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 8, 8, 3)), rng.normal(size=(32, 2))
    model = convolutional()
    masked = gated(model)
    masked.fit(x, y, verbose=0)
    before = as_numpy(masked(x))
    states = [as_numpy(v) for v in masked.non_trainable_variables]
    slots = [as_numpy(v) for v in masked.optimizer.variables]
    optimizer = masked.optimizer
    sparsity.score_by_taylor(masked, x, y)
    assert masked.optimizer is optimizer
    for old, new in zip(slots, optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, as_numpy(new))
    for old, new in zip(states, masked.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, as_numpy(new))
    np.testing.assert_allclose(as_numpy(masked(x)), before, atol=1e-5)
    history = masked.fit(x, y, verbose=0)  # trains on by its own optimizer
    assert np.isfinite(history.history["loss"][0])
    assert not np.allclose(as_numpy(masked(x)), before)


def test_gates_begin_with_the_roots(data):
    x, y = data
    masked = gated(two_layers())
    found = sparsity.taylor_importance(masked, x, y)
    sparsity.score_by_taylor(masked, x, y)
    (gate,) = sparsity.masked_layers(masked)
    order = np.argsort(found["inner_gate"], kind="stable")
    factors = as_numpy(gate.kernel)[order]
    assert (np.diff(factors) >= 0).all()
    roots = np.sqrt(found["inner_gate"][order])
    expected = (roots / roots.mean() + 0.1) / 1.1
    np.testing.assert_allclose(factors, expected, rtol=1e-3)


def test_a_unit_that_the_loss_does_not_need_goes_first(data):
    x, y = data
    model = two_layers()
    kernel, bias = model.get_layer("outer").get_weights()
    kernel[3] = 0.0  # reads nothing of the unit, however large that is
    model.get_layer("outer").set_weights([kernel, bias])
    inner = model.get_layer("inner")
    inner.bias.assign(np.ones(8))  # so that no other is always zero
    masked = gated(model)
    sparsity.score_by_taylor(masked, x, y)
    masked.compile(keras.optimizers.SGD(1e-3), "mse")
    schedule = sparsity.DTMSchedule(0.12, begin=0.0, end=0.5)
    masked.fit(x, y, epochs=2, verbose=0, callbacks=[schedule])
    (gate,) = sparsity.masked_layers(masked)
    assert np.flatnonzero(sparsity.hard_mask(gate) == 0).tolist() == [3]


def test_what_cannot_be_scored_is_said(data):
    x, y = data
    elements = sparsity.apply_dtm(two_layers(), protect_ends=False)
    elements.compile("adam", "mse")
    with pytest.raises(UserError, match="granularity='channel'"):
        sparsity.taylor_importance(elements, x, y)
    masked = sparsity.apply_dtm(
        two_layers(), granularity="channel", protect_ends=False
    )
    with pytest.raises(UserError, match="must be compiled"):
        sparsity.score_by_taylor(masked, x, y)
    masked.compile("adam", "mse")
    with pytest.raises(UserError, match="is not finite"):
        sparsity.score_by_taylor(masked, x, y * np.nan)
    assert np.isfinite(as_numpy(masked(x))).all()


def test_frozen_gates_are_left_out(data):
    x, y = data
    model = two_layers()
    model.get_layer("inner").trainable = False
    masked = gated(model)
    with pytest.raises(UserError, match="masks on channels that train"):
        sparsity.taylor_importance(masked, x, y)
