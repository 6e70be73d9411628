"""Averaged weights, and BatchNormalization's statistics measured anew."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp.optimizers import averaged_weights, refresh_batch_norm

X = np.random.default_rng(0).normal(2.0, 3.0, size=(64, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def trained(optimizer, steps=4):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    history = []
    for _ in range(steps):
        model.train_on_batch(X, Y)
        history.append([as_numpy(v) for v in model.trainable_variables])
    return model, history


def test_average_is_that_of_the_formula():
    model, history = trained(
        kbp.HybridOptimizer(0.1, use_ema=True, ema_momentum=0.7)
    )
    expected = history[0]
    for weights in history[1:]:
        expected = [
            0.7 * a + 0.3 * b for a, b in zip(expected, weights, strict=True)
        ]
    with averaged_weights(model) as same:
        assert same is model
        for value, right in zip(
            model.trainable_variables, expected, strict=True
        ):
            np.testing.assert_allclose(as_numpy(value), right, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "create", [kbp.HybridOptimizer, keras.optimizers.AdamW]
)
def test_everything_is_as_before_afterwards(create):
    model, _ = trained(create(0.1, use_ema=True, ema_momentum=0.7))
    before = model.get_weights()
    error = KeyError("a person's own error")
    with pytest.raises(KeyError), averaged_weights(model, [X]):  # noqa: PT012
        assert np.any(before[0] != model.get_weights()[0])
        raise error
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fit_leaves_the_averages_and_evaluates_with_keras_callback():
    model, _ = trained(kbp.HybridOptimizer(0.1, use_ema=True))
    callback = keras.callbacks.SwapEMAWeights()
    model.fit(
        X, Y, epochs=2, verbose=0, callbacks=[callback], validation_data=(X, Y)
    )
    average = model.optimizer._model_variables_moving_average[0]
    np.testing.assert_array_equal(
        as_numpy(model.trainable_variables[0]), as_numpy(average)
    )


def test_statistics_are_those_of_the_data():
    model, _ = trained(kbp.HybridOptimizer(0.1))
    normalization = model.layers[1]
    before = [as_numpy(v) for v in model.trainable_variables]
    refresh_batch_norm(model, [X[:32], (X[32:], Y[32:])])
    hidden = [as_numpy(model.layers[0](part)) for part in (X[:32], X[32:])]
    np.testing.assert_allclose(
        as_numpy(normalization.moving_mean),
        np.mean([h.mean(axis=0) for h in hidden], axis=0),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        as_numpy(normalization.moving_variance),
        np.mean([h.var(axis=0) for h in hidden], axis=0),
        rtol=1e-4,
    )
    for a, b in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, as_numpy(b))


def test_a_small_last_batch_counts_by_its_size():
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((1,)), layer])
    values = np.append(np.zeros((32, 1)), [[330.0]], axis=0)
    refresh_batch_norm(model, values)
    assert float(layer.moving_mean[0]) == pytest.approx(10.0)


def test_layer_that_is_called_twice_has_its_last_calls_statistics():
    layer = keras.layers.BatchNormalization(momentum=1.0)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layer(layer(inputs) + 5.0))
    refresh_batch_norm(model, [np.array([[1.0], [3.0]])])
    assert float(layer.moving_mean[0]) == pytest.approx(5.0)
    assert float(layer.moving_variance[0]) == pytest.approx(1.0, abs=0.01)
    assert layer.momentum == 1.0


def test_what_is_missing_is_named():
    model, _ = trained(kbp.HybridOptimizer(0.1))
    with (
        pytest.raises(ValueError, match="use_ema=True"),
        averaged_weights(model),
    ):
        pass
    model.compile(kbp.HybridOptimizer(use_ema=True), "mse")
    with (
        pytest.raises(ValueError, match="no average yet"),
        averaged_weights(model),
    ):
        pass
    with pytest.raises(ValueError, match="at least one batch"):
        refresh_batch_norm(model, [])
