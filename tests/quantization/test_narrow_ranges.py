"""Numbers near zero, where LiteRT's converter widens what it rounds to."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kbp import export
from kbp.quantization import FakeQuantize, fake_quantizers, quantize


def model_of(body, scale=1.0):
    inputs = keras.Input((6,))
    x = np.random.default_rng(0).normal(size=(64, 6)) * scale
    return keras.Model(inputs, body(inputs)), x.astype("float32")


def dense(units=4, deviation=1.0, **options):
    spread = keras.initializers.RandomNormal(stddev=deviation, seed=0)
    return layers.Dense(units, kernel_initializer=spread, **options)


@pytest.mark.long
@pytest.mark.parametrize(
    ("body", "scale"),
    [
        (lambda x: dense()(x), 1e-9),
        (lambda x: dense(deviation=1e-9)(x), 1.0),
        (lambda x: dense(deviation=1e-9, activation="softmax")(x), 1.0),
        (lambda x: layers.Softmax()(dense(deviation=0.0)(x)), 1.0),
        (lambda x: dense()(dense(deviation=3e-8)(x)), 1e7),
        (lambda x: dense()(layers.Rescaling(3e-8)(x)), 1e7),
    ],
    ids=["input", "output", "softmax", "zeros", "kernel", "rescaling"],
)
def test_file_computes_with_the_ranges_of_the_model(body, scale, tmp_path):
    model, x = model_of(body, scale)
    quantized = quantize(model, x)
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path, verify_with=x)
    for reference in (False, True):  # whose softmax may end the process
        found = export.verify(quantized, path, x, reference=reference)
        assert found.within_one >= 0.95, found


def test_values_below_all_steps_are_told_as_lost(tmp_path):
    model, x = model_of(lambda x: dense(deviation=1e-9)(x))
    quantized = quantize(model, x)
    export.to_tflite(quantized, tmp_path / "q.tflite")
    found = export.verify(quantized, tmp_path / "q.tflite", x, original=model)
    assert any("away from that of the model" in p for p in found.problems)


@pytest.mark.parametrize("kind", ["input", "tensor", "kernel", "channel"])
def test_narrow_range_is_widened_with_zero_in_its_place(kind):
    layer = FakeQuantize(kind)
    layer.build((2, 3))
    layer.observing = True
    layer(np.array([[-1e-9, 0, 2e-9], [3.0, 0, -1e-9]]) * 1e-3)
    layer.set_observed_range()
    low, high = (np.asarray(x) for x in layer.weights[-2:])
    wide = high - low
    assert ((wide == 0) | (wide >= 0.99e-6)).all()


@pytest.mark.parametrize(
    "body",
    [
        lambda x: x * 3e-8,
        lambda x: -2e-7 * x,
        lambda x: x / 1e7,
        lambda x: ops.multiply(x, 3e-8),
    ],
)
def test_factor_that_the_converter_rounds_away_is_named(body):
    model, x = model_of(lambda x: dense()(body(x)), 1e7)
    message = r"^Layer (multiply|true_divide).*use a Rescaling"
    with pytest.raises(ValueError, match=message):
        quantize(model, x)


@pytest.mark.parametrize("number", [0.0, 2e-6, 1e6])
def test_other_factors_are_computed_in_eight_bits(number, tmp_path):
    model, x = model_of(lambda x: dense()(x * number))
    audit = export.to_tflite(quantize(model, x), tmp_path / "q.tflite")
    assert not audit.float_operations


def test_no_range_is_changed_that_is_wide_enough():
    model, x = model_of(lambda x: dense()(x))
    ranges = next(fake_quantizers(quantize(model, x))).weights
    np.testing.assert_array_equal(
        [np.asarray(x) for x in ranges], [x.min(), x.max()]
    )


def test_output_that_is_zero_in_both_models_is_no_drift(tmp_path):
    inputs = keras.Input((4, 4, 2))
    nothing = layers.Subtract()([inputs * 1e3, inputs * 1e3])
    model = keras.Model(inputs, ops.mean(nothing, axis=(1, 2)))
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype("float32")
    quantized = quantize(model, x)
    export.to_tflite(quantized, tmp_path / "q.tflite")
    found = export.verify(quantized, tmp_path / "q.tflite", x, original=model)
    assert found.from_original < 1e-3
    assert not found.problems
