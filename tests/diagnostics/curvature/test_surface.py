"""Losses on a plane through the weights."""

import keras
import numpy as np
import pytest
from networks import dense_model, outputs_of, vector_of

from kbp.diagnostics import hessian_spectrum, loss_surface
from kbp.diagnostics.curvature.surface import LossSurface
from kbp.errors import UserError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 2))


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


def test_losses_are_those_of_moved_weights():
    model = dense_model(4, 2)
    weights = vector_of(model)
    found = loss_surface(
        model, (X, Y), loss="mse", points=5, span=0.5, batch_size=4
    )
    first, second = map(flat, found.directions)
    np.testing.assert_array_equal(found.offsets, [-0.5, -0.25, 0, 0.25, 0.5])
    for (i, j), loss in np.ndenumerate(found.losses):
        moved = weights + found.offsets[i] * first + found.offsets[j] * second
        expected = np.mean((outputs_of(moved, X, (4, 2)) - Y) ** 2)
        np.testing.assert_allclose(loss, expected, rtol=1e-10)
    np.testing.assert_array_equal(vector_of(model), weights)


def test_random_directions_have_the_norms_of_filters():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    x, y = RNG.normal(size=(2, 6, 6, 2)), RNG.normal(size=(2, 3))
    one, same, other = (
        loss_surface(model, (x, y), loss="mse", points=2, seed=seed).directions
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(flat(one[0]), flat(same[0]))
    assert abs(flat(one[0]) - flat(other[0])).max() > 0.1
    assert abs(flat(one[0]) - flat(one[1])).max() > 0.1
    for direction in one:
        for variable, part in zip(
            model.trainable_variables, direction, strict=True
        ):
            own = np.array(variable)
            assert part.shape == own.shape
            if own.ndim == 1:
                assert not part.any()
                continue
            for channel in range(own.shape[-1]):
                np.testing.assert_allclose(
                    np.linalg.norm(part[..., channel]),
                    np.linalg.norm(own[..., channel]),
                    rtol=1e-5,
                )


def test_eigenvectors_give_parabolas_of_their_eigenvalues():
    model = dense_model(4, 2)
    spectrum = hessian_spectrum(
        model, (X, Y), k=1, loss="mse", vectors=True, tolerance=1e-10
    )
    surface = loss_surface(
        model,
        (X, Y),
        directions=spectrum.directions,
        loss="mse",
        span=1e-3,
        points=3,
    )
    middle = surface.losses[1, 1]
    for value, line in zip(
        spectrum.eigenvalues,
        (surface.losses[:, 1], surface.losses[1]),
        strict=True,
    ):
        bend = (line[0] + line[2] - 2 * middle) / 1e-6
        np.testing.assert_allclose(bend, value, atol=1e-3)


@pytest.mark.parametrize(
    "losses",
    [
        np.add.outer(np.arange(3.0), np.arange(3.0)),
        np.ones((3, 3)),
        np.full((3, 3), np.nan),
        np.array([[1.0, np.inf, 2.0], [1.0, 3.0, 2.0], [1.0, 1.0, 2.0]]),
    ],
)
def test_all_surfaces_are_drawn(losses, tmp_path):
    surface = LossSurface(np.linspace(-1, 1, 3), losses, ())
    path = surface.plot(tmp_path / "surface.svg")
    assert path.read_text() == surface.svg()
    assert "along the first direction" in surface.svg()
    with pytest.raises(UserError, match=r"ends in \.svg"):
        surface.plot(tmp_path / "surface.png")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 1}, "`points` must be"),
        ({"span": 0.0}, "`span` must be"),
        ({"span": float("nan")}, "`span` must be"),
        ({"directions": [[np.ones(3)]]}, "of the shapes of the trained"),
        (
            {"directions": [[np.ones((3, 2)), np.ones(2)]]},
            "must hold two directions",
        ),
    ],
)
def test_arguments_out_of_range_are_said(options, words):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=words):
        loss_surface(model, (X, Y), **{"loss": "mse", **options})
