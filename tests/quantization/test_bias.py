"""Biases on the grid of the file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import as_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from kbp import export
from kbp.quantization import fake_quantizers, quantize_aware
from kbp.quantization.bias import round_to_grid


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_bias_is_the_nearest_multiple_of_its_step(seed):
    rng = np.random.default_rng(seed)
    bias = rng.normal(size=7).astype("float32")
    step = np.exp(rng.uniform(-9, 2, 7)).astype("float32")
    step[rng.integers(7)] = 0  # not known yet
    found = as_numpy(round_to_grid(bias, step)).astype(np.float64)
    wide, safe = bias.astype(np.float64), np.where(step > 0, step, 1.0)
    expected = np.where(step > 0, np.round(wide / safe) * safe, wide)
    # One step off where float32 falls on the other side of a tie.
    gaps = np.abs(found - expected)
    assert (gaps <= 1e-6 + np.where(gaps > 1e-6, 1.001 * step, 0)).all()
    assert np.mean(gaps <= 1e-6) >= 6 / 7


def test_gradients_pass_as_if_nothing_were_rounded():
    bias = tf.Variable([0.3, -1.7])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(round_to_grid(bias, tf.constant(0.5)) * [2, 3])
    np.testing.assert_array_equal(tape.gradient(total, bias), [2, 3])


def unbalanced(norm):
    """A network whose biases have steps as large as its outputs'."""
    inputs = keras.Input((4, 4, 2))
    first = layers.DepthwiseConv2D(1, name="first", use_bias=False)
    last = layers.Conv2D(8, 1, name="last", use_bias=not norm)
    outputs = last(first(inputs))
    if norm:
        outputs = layers.BatchNormalization(
            beta_initializer=keras.initializers.RandomUniform(-1, 1),
            gamma_initializer=keras.initializers.RandomUniform(-2, 2),
        )(outputs)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    factors = np.array([16, 1 / 16])
    first.kernel.assign(factors.reshape(1, 1, 2, 1))
    kernel = rng.uniform(0.2, 1, (1, 1, 2, 8)) / factors[:, None]
    last.set_weights(
        [kernel] if norm else [kernel, rng.uniform(-1, 1, 8)],
    )
    return model


@pytest.mark.long
@pytest.mark.parametrize("norm", [False, True])
def test_rounded_biases_are_those_of_the_file(norm, tmp_path):
    model = unbalanced(norm)
    x = np.random.default_rng(1).normal(size=(64, 4, 4, 2)).astype("float32")
    means = {}
    for rounded in (True, False):
        q = quantize_aware(model, [x], round_biases=rounded, equalize=False)
        q.compile(keras.optimizers.SGD(0.001), "mse")
        q.fit(x, np.ones((64, 4, 4, 8)), verbose=0)
        path = tmp_path / f"{rounded}.tflite"
        export.to_tflite(q, path)
        means[rounded] = export.verify(q, path, [x]).mean
    assert means[True] < 0.001
    assert means[False] > 0.02


def test_bias_before_a_normalization_becomes_part_of_it(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv", bias_initializer="normal")(inputs)
    x = layers.BatchNormalization(name="norm", beta_initializer="normal")(x)
    model = keras.Model(inputs, x)
    q = quantize_aware(model)
    assert not q.get_layer("conv").layer.use_bias
    for quantizer in fake_quantizers(q):
        quantizer.observing = True  # as if nothing were rounded
    x = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype("float32")
    for training in (False, True):
        # Sums in another order, in float32.
        np.testing.assert_allclose(
            as_numpy(q(x, training=training)),
            as_numpy(model(x, training=training)),
            atol=1e-5,
        )
