"""The path-norm bound against its definition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbp
from kbp.layers import PathNormBound, TransformedLayer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype("float32")
Y = RNG.normal(size=(8, 3)).astype("float32")


def gradient_of(layer, x, y, training=True):
    if not layer.built:
        layer.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((layer(x, training=training) - y) ** 2)
    kernel = layer.kernel.value
    return tape.gradient(loss, kernel).numpy()


@pytest.mark.parametrize("gamma", [1e-3, 0.5, 1e3])
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_gradient_is_shortened_to_the_bound(gamma, kind):
    if kind == "dense":
        layer, x, y = keras.layers.Dense(3), X, Y
    else:
        layer = keras.layers.Conv2D(3, 3)
        x = RNG.normal(size=(4, 6, 6, 2)).astype("float32")
        y = RNG.normal(size=(4, 4, 4, 3)).astype("float32")
    bounded = TransformedLayer(layer, [PathNormBound(gamma)])
    bounded.build(x.shape)
    free = gradient_of(bounded, x, y, training=False)
    got = gradient_of(bounded, x, y)
    limit = gamma * np.sqrt((x.astype("float64") ** 2).sum() / len(x))
    norm = np.linalg.norm(free.astype("float64"))
    np.testing.assert_allclose(
        got, free * min(1.0, limit / norm), rtol=1e-4, atol=1e-6 * norm
    )
    assert np.linalg.norm(got) <= limit * (1 + 1e-5) or norm <= limit


def test_output_is_unchanged():
    layer = TransformedLayer(keras.layers.Dense(3), [PathNormBound(1e-6)])
    for training in (False, True):
        np.testing.assert_array_equal(
            layer(X, training=training), layer.layer(X)
        )


def test_zero_gradient_and_zero_input_stay_finite():
    layer = TransformedLayer(keras.layers.Dense(3), [PathNormBound(0.1)])
    zero = np.zeros_like(X)
    np.testing.assert_array_equal(gradient_of(layer, zero, Y), 0)
    np.testing.assert_array_equal(gradient_of(layer, X, layer(X)), 0)


def test_bound_does_not_depend_on_the_batch_size():
    layer = TransformedLayer(keras.layers.Dense(3), [PathNormBound(1e-3)])
    once = np.linalg.norm(gradient_of(layer, X, Y))
    twice = gradient_of(layer, np.tile(X, (2, 1)), np.tile(Y, (2, 1)))
    assert np.linalg.norm(twice) == pytest.approx(once, rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda: kbp.layers.DTMDense(6, path_norm_bound=0.1, name="one"),
            marks=pytest.mark.slow,
        ),
        lambda: kbp.layers.DTMConv2D(
            6, 3, padding="same", path_norm_bound=0.1, name="one"
        ),
        lambda: kbp.layers.ResidualConv2D(6, path_norm_bound=0.1, name="one"),
    ],
)
def test_bounded_layers_are_pruned_quantized_and_exported(make, tmp_path):
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    layer = make()
    residual = isinstance(layer, kbp.layers.ResidualConv2D)
    x = layer(x, x) if residual else layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    if residual:
        model = kbp.sparsity.apply_dtm(model)
    model.compile(kbp.HybridOptimizer(0.01), "mse")
    data = RNG.normal(size=(16, 8, 8, 4)).astype("float32")
    model.fit(data, RNG.normal(size=(16, 3)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.predict(data, verbose=0), loaded.predict(data, verbose=0)
    )
    stripped = kbp.sparsity.strip(model)
    np.testing.assert_allclose(
        stripped.predict(data, verbose=0),
        model.predict(data, verbose=0),
        atol=0.1,  # soft masks against hard ones
    )
    q = kbp.quantization.quantize_aware(model, calibration_data=[data])
    q.compile(kbp.HybridOptimizer(1e-3), "mse")
    q.fit(data, RNG.normal(size=(16, 3)), verbose=0)
    path = tmp_path / "model_int8.tflite"
    kbp.export.to_tflite(q, path)
    assert not kbp.export.audit(path).float_operations


@pytest.mark.parametrize("gamma", [0, -1.0, float("inf"), float("nan")])
def test_wrong_gamma_is_named(gamma):
    with pytest.raises(ValueError, match="`gamma` must be positive"):
        PathNormBound(gamma)
    with pytest.raises(ValueError, match="`gamma` must be positive"):
        kbp.layers.DTMDense(3, path_norm_bound=gamma)
