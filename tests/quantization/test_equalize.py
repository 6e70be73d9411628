"""Channels of alike ranges."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

from kbp import export, sparsity
from kbp.quantization import quantize_aware
from kbp.quantization.equalize import equalized
from kbp.quantization.lowering.lower import lower
from kbp.quantization.policy import QuantizationPolicy

IMAGES = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
FACTORS = [32, 1, 1 / 4, 1 / 32]  # of four channels
CONVOLUTION = {"filters": 4, "kernel_size": 3, "bias_initializer": "normal"}


def network(*between, first=None, second=None):
    """Two layers and four channels of unlike ranges between them."""
    first = first or layers.Conv2D(**CONVOLUTION, name="first")
    inputs = keras.Input((6, 6, 3))
    x = first(inputs)
    for layer in between:
        x = layer(x)
    x = (second or layers.Conv2D(5, 2, name="second"))(x)
    first.kernel.assign(first.kernel * FACTORS)
    return keras.Model(inputs, x)


def equalize(model, skip=()):
    """Return the model as it is lowered, and equalized, if anything was."""
    policy = QuantizationPolicy(model, skip, {})
    lowered = lower(model, policy)
    found = equalized(lowered, policy, [IMAGES[:4], IMAGES[4:]])
    return lowered, None if found is lowered else found


def test_scales_follow_the_formula():
    model = network(layers.ReLU(name="relu"))
    between = keras.Model(model.input, model.get_layer("relu").output)
    first, second = map(model.get_layer, ("first", "second"))
    kernel = as_numpy(second.kernel).astype("float64")
    values = as_numpy(between(IMAGES)).astype("float64").max(axis=(0, 1, 2))
    weights = np.abs(kernel).max(axis=(0, 1, 3))
    exponents = np.log2(np.sqrt(values / weights))
    scales = 2 ** np.round(exponents - exponents.mean())
    assert len({*scales}) > 2
    _, equal = equalize(model)
    np.testing.assert_array_equal(
        as_numpy(equal.get_layer("first").kernel),
        as_numpy(first.kernel) / scales,
    )
    np.testing.assert_array_equal(
        as_numpy(equal.get_layer("first").bias), as_numpy(first.bias) / scales
    )
    np.testing.assert_array_equal(
        as_numpy(equal.get_layer("second").kernel), kernel * scales[:, None]
    )


@pytest.mark.parametrize(
    ("between", "ends"),
    [
        ([], {}),
        ([layers.ReLU()], {"second": layers.DepthwiseConv2D(2)}),
        ([layers.LeakyReLU(), layers.MaxPooling2D(2)], {}),
        ([layers.BatchNormalization(), layers.ReLU()], {}),
        ([layers.BatchNormalization(center=False)], {}),
        ([layers.ZeroPadding2D(), layers.Dropout(0.5)], {}),
        (
            [layers.Activation("relu")],
            {"first": layers.Dense(4), "second": layers.Dense(3)},
        ),
        (
            [layers.ReLU()],
            {"first": layers.DepthwiseConv2D(3, depth_multiplier=4)},
        ),
    ],
)
def test_no_result_changes(between, ends):
    model = network(*between, **ends)
    before = [as_numpy(v).copy() for v in model.variables]
    lowered, equal = equalize(model)
    np.testing.assert_array_equal(equal(IMAGES), lowered(IMAGES))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(as_numpy(variable), value)


@pytest.mark.parametrize(
    ("between", "ends"),
    [
        ([layers.ReLU(6.0)], {}),
        ([layers.ReLU(threshold=0.1)], {}),
        ([layers.Activation("gelu")], {}),
        ([layers.BatchNormalization(scale=False)], {}),
        ([layers.Reshape((-1, 4))], {"second": layers.Conv1D(2, 3)}),
        ([], {"second": layers.Conv2D(4, 3, groups=2)}),
        ([], {"second": layers.Conv2D(4, 3, kernel_constraint="max_norm")}),
        (
            [layers.BatchNormalization(gamma_constraint="non_neg")],
            {},
        ),
    ],
)
def test_what_lets_no_factor_through_stays(between, ends):
    _, equal = equalize(network(*between, **ends))
    assert equal is None


def test_what_is_used_elsewhere_stays():
    inputs = keras.Input((6, 6, 3))
    first = layers.Conv2D(4, 1, name="first")
    outputs = first(inputs)
    first.kernel.assign(first.kernel * FACTORS)
    second = layers.Conv2D(4, 1, name="second")
    once = second(outputs)
    for results, stays in (
        (once, False),
        ([outputs, once], True),
        (second(once), True),
    ):
        _, equal = equalize(keras.Model(inputs, results))
        assert (equal is None) == stays


@pytest.mark.parametrize("name", ["first", "second", "relu"])
def test_what_the_user_decides_stays(name):
    model = network(layers.ReLU(name="relu"))
    for skip in ([], [name]):
        _, equal = equalize(model, skip)
        assert (equal is None) == bool(skip)


def test_channels_that_are_dead_or_pruned_stay_so():
    model = network(layers.ReLU(name="relu"))
    first, second = map(model.get_layer, ("first", "second"))
    first.kernel.assign(first.kernel * [0, 1, 1, 1])
    first.bias.assign([-1, 0, 0, 0])
    second.kernel.assign(as_numpy(second.kernel) * [[1], [0], [1], [1]])
    masked = sparsity.fix_masks(sparsity.apply_dtm(model, protect_ends=False))
    for pruned in (model, masked):
        lowered, equal = equalize(pruned)
        np.testing.assert_array_equal(equal(IMAGES), lowered(IMAGES))
        kernel = as_numpy(equal.layers[-1].kernel)
        assert np.isfinite(kernel).all()
        assert not kernel[:, :, 1].any()


def test_eight_bits_lose_less(tmp_path):
    model = network(layers.ReLU())
    second = model.get_layer("second")
    second.kernel.assign(second.kernel / np.array(FACTORS)[:, None])
    expected = as_numpy(model(IMAGES))
    errors = {}
    for equalizing in (True, False):
        quantized = quantize_aware(model, [IMAGES], equalize=equalizing)
        path = tmp_path / f"{equalizing}.tflite"
        export.to_tflite(quantized, path, input_dtype="float32")
        found = export.Runner(path).predict(IMAGES)
        errors[equalizing] = np.abs(found - expected).mean()
        assert export.verify(quantized, path, [IMAGES]).within_one == 1
    assert errors[True] < errors[False] / 2
