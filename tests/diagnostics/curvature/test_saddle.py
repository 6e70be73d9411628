"""Saddles and minima are told apart."""

import keras
import numpy as np
import pytest
from networks import dense_model

from kbp.diagnostics import is_saddle

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3))
Y = X @ RNG.normal(size=(3, 2))


def product_of_linear_layers(width=8, dtype="float32"):
    """Return a network whose loss has a saddle at 0 and is 0 elsewhere."""
    return dense_model(width, 2, activation="linear", dtype=dtype)


def filled(model, value):
    model.set_weights([np.full(w.shape, value) for w in model.weights])
    return model


def test_a_strict_saddle_is_found_with_its_direction():
    model = filled(product_of_linear_layers(dtype="float64"), 0.0)
    y = Y - Y.mean(axis=0)
    found = is_saddle(model, (X, y), loss="mse")
    assert found
    assert found.flat
    # At 0 the loss is - 2 / (n k) sum(y . V^T W^T x), which is bilinear.
    singular = np.linalg.svd(X.T @ y, compute_uv=False)[0]
    expected = -2 * singular / y.size
    np.testing.assert_allclose(found.smallest, expected, rtol=1e-4)
    assert "strict saddle" in str(found)
    model.compile(loss="mse")
    here = model.evaluate(X, y, verbose=0)
    for variable, part in zip(
        model.trainable_variables, found.direction, strict=True
    ):
        variable.assign(0.1 * part)
    assert model.evaluate(X, y, verbose=0) < here - 0.004 * abs(expected)


def test_a_minimum_with_flat_directions_is_none():
    model = product_of_linear_layers()
    first = np.eye(3, 8)
    kernel = np.linalg.lstsq(X, Y, rcond=None)[0]
    second = np.concatenate([kernel, np.zeros((5, 2))])
    model.set_weights([first, np.zeros(8), second, np.zeros(2)])
    found = is_saddle(model, (X, Y), loss="mse")
    assert not found
    assert found.flat
    assert found.largest > 0.1
    assert abs(found.smallest) < 1e-4 * found.largest
    assert "minimum" in str(found)


def test_a_slope_is_no_stationary_point():
    model = filled(product_of_linear_layers(), 0.3)
    found = is_saddle(model, (X, Y), loss="mse")
    assert not found
    assert not found.flat
    assert found.gradient_norm > 0.1
    assert "no stationary point" in str(found)
    again = is_saddle(
        model, (X, Y), loss="mse", small_gradient=2 * found.gradient_norm
    )
    assert again.flat


def test_a_saddle_without_curvature_is_not_strict():
    model = filled(dense_model(4, 4, 2, activation="linear"), 0.0)
    found = is_saddle(model, (X, Y - Y.mean(axis=0)), loss="mse")
    assert found.flat
    assert not found.downhill


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"small_gradient": -1.0}, "`small_gradient` must"),
        ({"negative": 0.0}, "`negative` must be between"),
        ({"negative": 1e-6}, "larger than `tolerance`"),
        ({"loss": None}, "has no loss"),
    ],
)
def test_arguments_out_of_range_are_said(options, words):
    model = product_of_linear_layers()
    with pytest.raises(ValueError, match=words):
        is_saddle(model, (X, Y), **{"loss": "mse", **options})


@pytest.mark.long
def test_training_that_leaves_along_the_direction_ends_lower():
    model = filled(product_of_linear_layers(), 0.0)
    y = Y - Y.mean(axis=0)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    stuck = model.fit(X, y, epochs=5, batch_size=16, verbose=0)
    assert np.ptp(stuck.history["loss"]) < 1e-6
    found = is_saddle(model, (X, y))
    for variable, part in zip(
        model.trainable_variables, found.direction, strict=True
    ):
        variable.assign_add(0.1 * part)
    free = model.fit(X, y, epochs=60, batch_size=16, verbose=0)
    assert free.history["loss"][-1] < 0.5 * stuck.history["loss"][0]
