"""The mask against its formula, its limits and its gradient."""

import keras
import numpy as np
import pytest
import references
import tensorflow as tf
from contracts import as_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kbp import layers
from kbp.layers.transforms.dtm import ESTIMATORS

KERNELS = arrays(
    np.float64,
    st.sampled_from([(3, 4), (2, 3, 2, 3)]),
    elements=st.floats(-2, 2, width=32),
)


def built(kernel, **arguments):
    dtm = layers.DTM(dtype="float64", **arguments)
    dtm.build(kernel.shape)
    return dtm


# The first example may take long: TensorFlow starts.
@settings(deadline=None)
@given(
    KERNELS,
    st.floats(0.5, 200, width=32),
    st.floats(-1, 1, width=32),
    st.sampled_from(["magnitude", "signed"]),
    st.sampled_from(["element", "channel"]),
    st.booleans(),
)
def test_mask_is_the_formula(
    kernel, temperature, threshold, score, granularity, hard
):
    dtm = built(
        kernel,
        temperature=temperature,
        threshold=threshold,
        score=score,
        granularity=granularity,
    )
    expected = references.dtm_mask(
        kernel, temperature, threshold, score, granularity, hard
    )
    mask = as_numpy(dtm.mask(kernel, hard=hard))
    assert mask.min() >= 0
    assert mask.max() <= 1
    if hard:  # a mean may round to either side of the threshold
        scores = as_numpy(dtm.scores(kernel))
        clear = np.abs(scores - threshold) > 1e-12
        expected, mask = (
            np.where(clear, np.broadcast_to(m, kernel.shape), 0)
            for m in (expected, mask)
        )
    np.testing.assert_allclose(
        np.broadcast_to(mask, kernel.shape), expected, rtol=1e-12, atol=1e-12
    )
    outputs = as_numpy(dtm(kernel, training=not hard))
    assert outputs.shape == kernel.shape


@settings(deadline=None)
@given(KERNELS)
def test_soft_mask_tends_to_the_hard_mask(kernel):
    dtm = built(kernel, temperature=1e9, threshold=0.5)
    far = np.abs(np.abs(kernel) - 0.5) > 1e-6
    soft, hard = (as_numpy(dtm.mask(kernel, hard=h)) for h in (False, True))
    np.testing.assert_allclose(soft[far], hard[far], atol=1e-12)


def test_low_threshold_equals_the_plain_layer():
    masked = layers.DTMDense(4, threshold=-100.0)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    for training in (False, True):
        np.testing.assert_array_equal(
            as_numpy(masked(x, training=training)), as_numpy(masked.layer(x))
        )


def test_mask_follows_a_permutation_of_the_channels():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    dtm = built(kernel, threshold=0.7, granularity="channel")
    order = np.random.default_rng(1).permutation(5)
    mask = as_numpy(dtm.mask(kernel))
    moved = as_numpy(dtm.mask(kernel[..., order]))
    np.testing.assert_array_equal(moved, mask[..., order])


@pytest.mark.parametrize("score", ["magnitude", "signed"])
def test_gradients_equal_central_differences(score):
    kernel = np.random.default_rng(0).normal(size=(3, 4))
    weights = np.random.default_rng(1).normal(size=(3, 4))
    dtm = built(
        kernel, temperature=3.0, threshold=0.4, score=score, estimator="exact"
    )

    def loss(w):
        return keras.ops.sum(dtm(w, training=True) * weights)

    w = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(w)
        value = loss(w)
    by_kernel, by_threshold = tape.gradient(value, [w, dtm.threshold.value])
    h = 1e-6
    for index in np.ndindex(kernel.shape):
        step = np.zeros_like(kernel)
        step[index] = h
        slope = float(loss(kernel + step) - loss(kernel - step)) / (2 * h)
        assert abs(slope - float(by_kernel[index])) < 1e-6
    values = []
    for threshold in (0.4 + h, 0.4 - h):
        dtm.threshold.assign(threshold)
        values.append(float(loss(kernel)))
    slope = (values[0] - values[1]) / (2 * h)
    assert abs(slope - float(by_threshold)) < 1e-6


def test_straight_through_passes_all_of_the_kernels_gradient():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 4)))
    weights = np.random.default_rng(1).normal(size=(3, 4))
    gradients = {}
    for estimator in ESTIMATORS:
        dtm = built(kernel, temperature=3.0, threshold=0.4, estimator=estimator)
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = dtm(kernel, training=True)
            value = keras.ops.sum(outputs * weights)
        gradients[estimator] = tape.gradient(
            value, [kernel, dtm.threshold.value]
        )
        if estimator == "straight_through":  # what inference will see
            np.testing.assert_array_equal(outputs, dtm(kernel))
    straight, exact = gradients.values()
    np.testing.assert_array_equal(straight[0], weights)
    np.testing.assert_allclose(straight[1], exact[1], rtol=1e-12)


def test_driven_threshold_gets_no_gradient():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 4)))
    dtm = built(kernel, temperature=3.0, threshold=0.4)
    for share in (1.0, 0.0):
        dtm.threshold_gradient.assign(share)
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            value = keras.ops.sum(dtm(kernel, training=True))
        by_kernel, by_threshold = tape.gradient(
            value, [kernel, dtm.threshold.value]
        )
        assert np.any(by_kernel)
        assert (float(by_threshold) != 0) == (share == 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "`temperature` must be positive"),
        ({"temperature": float("nan")}, "`temperature` must be positive"),
        ({"threshold": float("inf")}, "`threshold` must be finite"),
        ({"score": "size"}, "`score` must be one of"),
        ({"granularity": "row"}, "`granularity` must be one of"),
        ({"estimator": "none"}, "`estimator` must be one of"),
        ({"penalty": -1.0}, "`penalty` must not be negative"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.DTM(**arguments)
    with pytest.raises(ValueError, match=message):
        layers.DTMDense(3, **arguments)


def test_fixed_mask_blocks_the_gradient():
    layer = layers.TransformedLayer(
        keras.layers.Dense(3, use_bias=False), [layers.FixedMask()]
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    mask = np.random.default_rng(0).integers(0, 2, (4, 3)).astype("float32")
    layer.transforms[0].mask.assign(mask)
    before = as_numpy(layer.kernel)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), epochs=3, verbose=0)
    moved = as_numpy(layer.kernel) != before
    np.testing.assert_array_equal(moved, mask == 1)


def test_stateful_layer_is_refused():
    layer = layers.TransformedLayer(
        keras.layers.BatchNormalization(), [layers.FixedMask()], kernel="gamma"
    )
    with pytest.raises(ValueError, match="updates state of its own"):
        layer.build((None, 4))


def test_layer_without_such_a_kernel_is_refused():
    layer = layers.TransformedLayer(
        keras.layers.Dense(2), [layers.FixedMask()], kernel="embeddings"
    )
    with pytest.raises(ValueError, match="no attribute `embeddings`"):
        layer.build((None, 4))
