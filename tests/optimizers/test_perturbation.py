"""Noise that carries weights away from saddles."""

import keras
import numpy as np
import pytest
from keras import ops

import kbp
from kbp.optimizers import Perturbation

NOISE = Perturbation(radius=1e-3, threshold=1e-4, patience=20, seed=1)


def descent(w, gradient_of, steps, perturbation, **options):
    """Return a point after some steps, and the steps until it had left 0."""
    options = {"preconditioner_power": 0.0, "beta_1": 0.0, **options}
    optimizer = kbp.HybridOptimizer(0.1, perturbation=perturbation, **options)
    variable = keras.Variable(w)
    for step in range(steps):
        value = ops.convert_to_numpy(variable)
        if abs(value[-1]) > 0.5:
            return value, step
        optimizer.apply([ops.convert_to_tensor(gradient_of(value))], [variable])
    return ops.convert_to_numpy(variable), None


def saddle(w):
    """Gradient of `sum w_i^2 / 2 - w_d^2 + w_d^4 / 4`, a strict saddle at 0."""
    gradient = w.copy()
    gradient[-1] = -w[-1] + w[-1] ** 3
    return gradient


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [{}, {"beta_1": 0.9}, {"preconditioner_power": 1.0, "beta_1": 0.9}],
    ids=["descent", "momentum", "adaptive"],
)
def test_strict_saddles_are_left_in_steps_that_grow_with_a_logarithm(options):
    taken = {}
    for size in (2, 10, 100, 1000):
        start = np.zeros(size, "float32")
        start[0] = 1e-5
        stayed, left = descent(start, saddle, 500, None, **options)
        assert left is None
        assert stayed[-1] == 0
        _, taken[size] = descent(start, saddle, 500, NOISE, **options)
        assert taken[size], f"{size} dimensions hold it"
    # One direction of a ball's vector is 1 / sqrt(d) of it, and each step away
    # from the saddle multiplies it by 1.1 or more.
    assert taken[1000] <= taken[2] + np.log(1000) ** 2


@pytest.mark.slow
def test_a_deep_linear_network_begun_at_zero_learns():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = x @ np.arange(4, dtype="float32")[:, None]
    losses = {}
    for name, noise in (
        ("plain", None),
        ("perturbed", Perturbation(0.1, 1e-3, seed=2)),
    ):
        layers = [
            keras.layers.Dense(n, use_bias=False, kernel_initializer="zeros")
            for n in (4, 4, 1)
        ]
        model = keras.Sequential([keras.Input((4,)), *layers])
        optimizer = kbp.HybridOptimizer(0.01, perturbation=noise)
        model.compile(optimizer, "mse")
        history = model.fit(x, y, epochs=600, batch_size=64, verbose=0)
        losses[name] = history.history["loss"]
    assert losses["plain"][-1] == losses["plain"][0]
    assert losses["perturbed"][-1] < 1e-3 * losses["plain"][0]


def test_noise_is_uniform_in_the_ball():
    weights = [keras.Variable(np.zeros(shape)) for shape in ((3, 2), (4,), ())]
    size, radii, total = 11, [], np.zeros(11)
    for step in range(400):
        parts = NOISE.noise(weights, ops.convert_to_tensor(step))
        vector = np.concatenate(
            [np.ravel(ops.convert_to_numpy(x)) for x in parts]
        )
        radii.append(np.linalg.norm(vector) / NOISE.radius)
        total += vector / NOISE.radius
    # The share of a ball within radius r is r^size; Kolmogorov's bound at 1 %.
    shares = np.sort(radii) ** size
    gap = np.abs(shares - np.arange(400) / 400).max()
    assert gap < 1.63 / np.sqrt(400)
    # The mean of a coordinate is 0, its variance 1 / (size + 2).
    assert np.abs(total / 400).max() < 4 / np.sqrt(400 * (size + 2))


def test_there_is_noise_only_where_the_gradient_stays_small():
    w = keras.Variable([0.0, 0.0])
    optimizer = kbp.HybridOptimizer(
        0.0, perturbation=Perturbation(0.1, 1.0, patience=3)
    )
    moved = []
    for gradient in (2.0, 0.5, 0.5, 0.5, 0.5, 2.0, 0.5):
        before = ops.convert_to_numpy(w).copy()
        optimizer.apply([ops.convert_to_tensor([gradient, 0.0])], [w])
        moved.append(bool(np.any(ops.convert_to_numpy(w) != before)))
    assert moved == [False, True, False, False, True, False, False]


@pytest.mark.long
def test_a_resumed_training_has_the_same_noise(tmp_path):
    def model():
        keras.utils.set_random_seed(0)
        made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        noise = {"radius": 0.1, "threshold": 100.0, "patience": 2, "seed": 5}
        made.compile(kbp.HybridOptimizer(0.01, perturbation=noise), "mse")
        return made

    x = np.ones((8, 2), "float32")
    whole = model()
    whole.fit(x, x, epochs=7, verbose=0)
    half = model()
    half.fit(x, x, epochs=3, verbose=0)
    half.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.perturbation == Perturbation(0.1, 100.0, 2, 5)
    loaded.fit(x, x, epochs=4, verbose=0)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_no_perturbation_is_refused():
    with pytest.raises(ValueError, match="`perturbation` must be a"):
        kbp.HybridOptimizer(perturbation=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius": 0.0},
        {"threshold": float("nan")},
        {"patience": 0},
        {"seed": -1},
        {"radius": "1"},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be a"):
        Perturbation(**{"radius": 1.0, "threshold": 1.0, **wrong})
