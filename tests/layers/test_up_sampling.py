"""Enlarging by repetition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbp


@pytest.mark.parametrize("size", [1, 2, 3, (2, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_positions_are_repeated(size, training):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    layer = kbp.layers.NearestUpSampling2D(size)
    layer = type(layer).from_config(layer.get_config())
    rows, columns = layer.size
    expected = x.repeat(rows, axis=1).repeat(columns, axis=2)
    np.testing.assert_array_equal(layer(x, training=training), expected)


def gradient_under_xla(enlarge):
    @tf.function(jit_compile=True)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(enlarge(x) ** 2)
        return tape.gradient(loss, x)

    return gradient(tf.reshape(tf.range(12.0), (1, 1, 12, 1)))


def test_xla_has_its_gradient():
    layer = kbp.layers.NearestUpSampling2D((1, 2))
    found = gradient_under_xla(lambda x: layer(x, training=True))
    expected = 4 * np.arange(12.0)
    np.testing.assert_array_equal(found[0, 0, :, 0], expected)


def test_xla_has_none_of_a_resize_still():
    """As long as this holds, the layer is needed."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="Resize"):
        gradient_under_xla(
            lambda x: keras.ops.image.resize(
                x, (1, 24), interpolation="nearest"
            )
        )
