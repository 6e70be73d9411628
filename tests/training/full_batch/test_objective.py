"""Losses over all examples, their gradients and curvature."""

import keras
import numpy as np
import pytest
from scipy.differentiate import jacobian

from kbp.diagnostics.tangent.kernel import Jacobians
from kbp.training.full_batch.objective import Objective

ROWS = 12


def small_model(loss, outputs, penalty=None):
    """Return a float64 network of two layers, compiled."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((3,), dtype="float64"),
        keras.layers.Dense(
            4, "tanh", dtype="float64", kernel_regularizer=penalty
        ),
        keras.layers.Dense(outputs, dtype="float64"),
    ]
    model = keras.Sequential(layers)
    model.compile(loss=loss)
    return model


def reference(vector, x, outputs):
    """Return the network's outputs, in NumPy, for vectors `(size, ...)`."""
    places = np.cumsum([12, 4, 4 * outputs])
    kernel, bias, head, shift = np.split(vector, places)
    more = vector.shape[1:]
    hidden = np.einsum("ni,ij...->nj...", x, kernel.reshape(3, 4, *more))
    hidden = np.tanh(hidden + bias)
    result = np.einsum(
        "nj...,jk...->nk...", hidden, head.reshape(4, outputs, *more)
    )
    return result + shift


def mean_squares(outputs, y):
    return np.mean((outputs - y) ** 2)


def cross_entropy(outputs, y):
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.mean(logs[np.arange(len(y)), y])


def curvature_of_squares(outputs, y):
    """Return the Hessian in the outputs, `(n k, n k)`."""
    return np.eye(outputs.size) * 2 / outputs.size


def curvature_of_classes(outputs, y):
    odds = np.exp(outputs)
    odds /= odds.sum(axis=1, keepdims=True)
    count, classes = outputs.shape
    whole = np.zeros((outputs.size, outputs.size))
    for n, p in enumerate(odds):
        own = slice(n * classes, (n + 1) * classes)
        whole[own, own] = (np.diag(p) - np.outer(p, p)) / count
    return whole


CASES = {
    "squares": (
        keras.losses.MeanSquaredError,
        mean_squares,
        curvature_of_squares,
    ),
    "classes": (
        lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        cross_entropy,
        curvature_of_classes,
    ),
}


@pytest.fixture(autouse=True)
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("penalty", [0.0, 0.125])  # which float32 holds
@pytest.mark.parametrize("name", CASES)
def test_loss_gradient_and_curvature_are_those_of_the_formula(name, penalty):
    make, loss_of, curvature_of = CASES[name]
    outputs = 3
    model = small_model(
        make(), outputs, keras.regularizers.L2(penalty) if penalty else None
    )
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 3))
    y = (
        rng.normal(size=(ROWS, outputs))
        if name == "squares"
        else rng.integers(outputs, size=ROWS)
    )
    objective = Objective(model, x, y)
    vector = rng.normal(size=objective.size)
    loss, gradient = objective(vector)

    def value(v):
        together = np.reshape(v, (objective.size, -1))
        values = [
            loss_of(reference(one, x, outputs), y)
            + penalty * np.sum(one[:12] ** 2)
            for one in together.T
        ]
        return np.reshape([values], (1, *v.shape[1:]))

    np.testing.assert_allclose(loss, value(vector)[0], rtol=1e-12)
    assert objective.loss(vector) == loss
    expected = jacobian(value, vector).df[0]
    np.testing.assert_allclose(gradient, expected, atol=1e-8)

    found = reference(vector, x, outputs)
    slopes = jacobian(
        lambda v: reference(v, x, outputs).reshape(found.size, *v.shape[1:]),
        vector,
    ).df
    matrix = slopes.T @ curvature_of(found, y) @ slopes
    matrix[:12, :12] += 2 * penalty * np.eye(12)
    for direction in rng.normal(size=(3, objective.size)):
        np.testing.assert_allclose(
            objective.curvature_product(direction),
            matrix @ direction,
            atol=1e-8,
        )


def test_several_inputs_and_outputs_are_one_loss():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    both = keras.layers.Concatenate()([a, b])
    outputs = {
        "u": keras.layers.Dense(1, name="u")(both),
        "v": keras.layers.Dense(2, name="v")(both),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile(loss={"u": "mse", "v": "mse"})
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(5, 2)), "b": rng.normal(size=(5, 2))}
    y = {"u": rng.normal(size=(5, 1)), "v": rng.normal(size=(5, 2))}
    objective = Objective(model, x, y, np.arange(5.0))
    found = objective.loss(objective.vector())
    given = model(x)
    expected = sum(
        np.mean(np.arange(5.0)[:, None] * (np.asarray(given[k]) - y[k]) ** 2)
        for k in y
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    gradient = objective(objective.vector())[1]
    product = objective.curvature_product(gradient)
    # The loss is a parabola, so its curvature is the Gauss-Newton matrix.
    ahead = objective(objective.vector() + gradient)[1]
    np.testing.assert_allclose(product, ahead - gradient, atol=1e-10)


@pytest.mark.long
def test_recurrent_layers_have_curvature_too():
    model = keras.Sequential(
        [keras.Input((4, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)]
    )
    model.compile(loss="mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4, 2)), rng.normal(size=(5, 1))
    objective = Objective(model, x, y)
    slopes = Jacobians(model).of(x, slice(0, 5))[:, 0]
    direction = rng.normal(size=objective.size)
    np.testing.assert_allclose(
        objective.curvature_product(direction),
        2 / 5 * slopes.T @ (slopes @ direction),
        rtol=1e-8,
    )
