"""Linearized and wide networks in training follow the closed form."""

import keras
import numpy as np
import pytest
from networks import dense_model

from kbp.diagnostics import linearized, predict_dynamics, tangent_kernel

RNG = np.random.default_rng(0)
X, Y, OTHER = (RNG.normal(size=size) for size in ((6, 3), (6, 2), (4, 3)))


def symmetric(size, least=0.5):
    root = RNG.normal(size=(size, size))
    return root @ root.T + least * np.eye(size)


@pytest.mark.parametrize("full", [False, True])
def test_steps_are_those_of_gradient_descent_in_numpy(full):
    rows = RNG.normal(size=(12, 20))  # of 6 examples with 2 outputs
    kernel = rows @ rows.T
    if not full:
        kernel = np.kron(symmetric(6), np.eye(2))
        rows = np.linalg.cholesky(kernel)
    other = RNG.normal(size=(8, rows.shape[1]))
    cross = (other @ rows.T).reshape(4, 2, 6, 2).transpose(0, 2, 1, 3)
    given = kernel.reshape(6, 2, 6, 2).transpose(0, 2, 1, 3)
    start, other_start = RNG.normal(size=(6, 2)), RNG.normal(size=(4, 2))
    weights, states = np.zeros(rows.shape[1]), []
    for _ in range(6):
        outputs = start.ravel() + rows @ weights
        states.append((outputs, other_start.ravel() + other @ weights))
        slope = rows.T @ (outputs - Y.ravel()) * 2 / Y.size
        weights = weights - 0.05 * slope
    options = {"start": start, "discrete": True}
    t = range(6)
    found = predict_dynamics(given, Y, 0.05, t, **options)
    np.testing.assert_allclose(
        found.reshape(6, -1), [s[0] for s in states], rtol=1e-10
    )
    if not full:
        short = predict_dynamics(given[..., 0, 0], Y, 0.05, t, **options)
        np.testing.assert_allclose(short, found, rtol=1e-10)
    found = predict_dynamics(
        given, Y, 0.05, t, cross=cross, cross_start=other_start, **options
    )
    np.testing.assert_allclose(
        found.reshape(6, -1), [s[1] for s in states], rtol=1e-8
    )


def test_the_flow_is_the_limit_of_small_steps_and_ends_at_the_targets():
    kernel, y = symmetric(6), Y[:, 0]
    flow = predict_dynamics(kernel, y, 0.1, 3.0)
    steps = predict_dynamics(kernel, y, 1e-5, 30_000, discrete=True)
    np.testing.assert_allclose(flow, steps, atol=1e-3)
    assert flow.shape == y.shape
    np.testing.assert_allclose(
        predict_dynamics(kernel, y, 0.1, 1e6), y, atol=1e-8
    )
    cross = RNG.normal(size=(4, 6))
    ridge = predict_dynamics(kernel, y, 0.1, 1e6, cross=cross)
    np.testing.assert_allclose(
        ridge, cross @ np.linalg.solve(kernel, y), rtol=1e-6
    )


def test_what_a_kernel_does_not_reach_stays():
    kernel = np.diag([1.0, 0.0])
    found = predict_dynamics(
        kernel, np.ones(2), 1.0, 1e9, start=np.array([0.0, 3.0])
    )
    np.testing.assert_allclose(found, [1.0, 3.0])
    cross = predict_dynamics(
        kernel, np.ones(2), 1.0, 1e9, cross=np.array([[2.0, 5.0]])
    )
    np.testing.assert_allclose(cross, [2.0])


def trained(model, rate, epochs):
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(X, Y, batch_size=6, epochs=epochs, verbose=0)
    return np.array(model(X)), np.array(model(OTHER))


def predicted(model, rate, epochs):
    kernel, cross = (
        tangent_kernel(model, *inputs, outputs="full")
        for inputs in ((X,), (OTHER, X))
    )
    options = {"start": np.array(model(X)), "discrete": True}
    return (
        predict_dynamics(kernel, Y, rate, epochs, **options),
        predict_dynamics(
            kernel,
            Y,
            rate,
            epochs,
            cross=cross,
            cross_start=np.array(model(OTHER)),
            **options,
        ),
    )


def test_linearized_networks_follow_the_closed_form():
    model = dense_model(8, 5, 2, dtype="float32")
    expected = predicted(model, 0.1, 30)
    found = trained(linearized(model), 0.1, 30)
    assert abs(found[0] - np.array(model(X))).max() > 0.3  # it has moved
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.long
def test_wide_networks_follow_the_closed_form_and_narrow_ones_less():
    off = []
    for width in (16, 4096):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(
                    width, "tanh", kernel_initializer="lecun_normal"
                ),
                keras.layers.Dense(2, kernel_initializer="lecun_normal"),
            ]
        )
        rate = 8.0 / width  # Keras's kernels are not scaled by the width
        start = np.array(model(X))
        expected = predicted(model, rate, 30)
        found = trained(model, rate, 30)
        moved = abs(expected[0] - start).max()
        assert moved > 0.3
        off.append(
            max(
                abs(one - other).max() / moved
                for one, other in zip(found, expected, strict=True)
            )
        )
    assert off[1] < 0.02
    assert off[1] < off[0] / 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel": np.ones((6, 5))}, "`kernel` must be"),
        ({"kernel": np.ones((6, 6, 3, 3))}, "must be of 2 outputs"),
        ({"y": Y[:5]}, "`y` must be of shape"),
        ({"y": np.ones((6, 2, 1))}, "`y` must be of shape"),
        ({"learning_rate": 0.0}, "`learning_rate` must"),
        ({"learning_rate": np.inf}, "`learning_rate` must"),
        ({"t": -1.0}, "`t` must not be"),
        ({"t": [1.0, np.nan]}, "`t` must not be"),
        ({"t": 1.5, "discrete": True}, "`t` must be a whole"),
        (
            {"learning_rate": 13.0, "t": 1, "discrete": True},
            "so large that the descent diverges; at most 12 does not",
        ),
        ({"cross": np.ones((4, 5))}, "`cross` must be"),
        ({"cross": np.ones(6)}, "`cross` must be"),
        ({"start": np.ones((5, 2))}, "`start` must be"),
        (
            {"cross": np.ones((4, 6)), "cross_start": np.ones((3, 2))},
            "`cross_start` must be",
        ),
    ],
)
def test_what_does_not_fit_is_said(options, words):
    given = {"kernel": np.eye(6), "y": Y, "learning_rate": 0.1, "t": 1.0}
    with pytest.raises(ValueError, match=words):
        predict_dynamics(**{**given, **options})
