"""The largest eigenvalue along a training, which stays as it is."""

import keras
import numpy as np
import pytest

from kbp.diagnostics import Sharpness, hessian_spectrum

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
Y = RNG.integers(0, 3, 24)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def noisy_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, kernel_regularizer="l2"),
        ]
    )
    model.compile("adam", LOSS, metrics=["accuracy"])
    return model


def trained(*callbacks):
    model = noisy_model()
    past = model.fit(
        X, Y, batch_size=6, epochs=3, verbose=0, callbacks=[*callbacks]
    )
    return model, past.history


@pytest.mark.long
@pytest.mark.parametrize(("unit", "every"), [("epochs", 1), ("steps", 3)])
def test_the_training_stays_as_it_is_bit_by_bit(unit, every):
    sharpness = Sharpness((X[:9], Y[:9]), unit=unit, every=every)
    model, history = trained(sharpness)
    plain, before = trained()
    assert len(model.variables) == len(plain.variables)
    for one, other in zip(model.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    found = history.pop("sharpness")
    assert history == before
    assert len(found) == 3
    assert len({*found}) == 3
    steps = {"epochs": [0, 4, 8, 12], "steps": [0, 3, 6, 9, 12]}[unit]
    assert sharpness.steps == steps
    last = {"epochs": [1, 2, 3], "steps": [1, 2, 4]}[unit]
    assert found == [sharpness.values[place] for place in last]
    again = Sharpness((X[:9], Y[:9]), unit=unit, every=every)
    trained(again)
    assert again.values == sharpness.values


@pytest.mark.long
def test_values_are_eigenvalues_at_the_weights_of_the_moment():
    sharpness = Sharpness((X, Y), every=2, tolerance=1e-5)
    model, history = trained(sharpness)
    assert sharpness.steps == [0, 8]
    assert history["sharpness"] == [sharpness.values[i] for i in (0, 1, 1)]
    model = noisy_model()
    for value, epochs in zip(sharpness.values, (0, 2), strict=True):
        if epochs:
            model.fit(X, Y, batch_size=6, epochs=epochs, verbose=0)
        expected = hessian_spectrum(model, (X, Y), k=1).largest
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_gradient_descent_diverges_beyond_two_over_the_learning_rate():
    x = np.array([[2.0], [-2.0]])
    for rate, falls in ((0.24, True), (0.26, False)):  # 2 / 8 between them
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]
        )
        model.compile(keras.optimizers.SGD(rate), "mse")
        past = model.fit(
            x, 3 * x, epochs=9, verbose=0, callbacks=[Sharpness((x, x))]
        )
        np.testing.assert_allclose(past.history["sharpness"], 8.0, rtol=1e-4)
        losses = past.history["loss"]
        assert (losses[-1] < losses[0]) == falls


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "`every` must be"),
        ({"unit": "batches"}, "`unit` must be"),
        ({"tolerance": 1.0}, "`tolerance` must"),
        ({"probe": X}, "`probe` must be a tuple"),
    ],
)
def test_arguments_out_of_range_are_said(options, words):
    with pytest.raises(ValueError, match=words):
        Sharpness(**{"probe": (X, Y), **options})


@pytest.mark.parametrize(
    ("probe", "words"),
    [((X, Y[:3]), "as many examples"), ((X[:0], Y[:0]), "one or more")],
)
def test_probes_of_no_use_stop_before_the_training(probe, words):
    model = noisy_model()
    before = [np.array(v) for v in model.variables]
    with pytest.raises(ValueError, match=words):
        model.fit(X, Y, verbose=0, callbacks=[Sharpness(probe)])
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
