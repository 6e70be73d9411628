"""The steps of floats that an int8 file makes of integers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kbp import export
from kbp.export.float_steps import FloatSteps
from kbp.quantization import fake_quantizers, quantize

UNITS = {"scale": [1e5, 0.01], "offset": [3e5, 0.0], "name": "units"}


def dense(x, units=2):
    return layers.Dense(units)(layers.Dense(8, activation="relu")(x))


CASES = {
    "units": lambda x: layers.Rescaling(**UNITS)(dense(x)),
    "large offset": lambda x: layers.Rescaling([1.0, 0.01], [3e6, 0])(dense(x)),
    "moved": lambda x: ops.swapaxes(layers.Reshape((2, 3))(dense(x, 6)), 1, 2),
    "plain": lambda x: dense(x),
    "beside": lambda x: {
        "share": ops.sigmoid(dense(x)),
        "index": ops.argmax(dense(x), axis=-1),
        "truth": dense(x) > 0,
        "units": layers.Rescaling(**UNITS)(dense(x)),
    },
}


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(64, 5)).astype("float32")


def model_of(body):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    return keras.Model(inputs, body(inputs))


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_file_of_floats_is_verified_in_steps(name, x, tmp_path):
    quantized = quantize(model_of(CASES[name]), x)
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path, input_dtype="float32", verify_with=x)
    found = export.verify(quantized, path, x)
    assert found.unit == "LSB"
    assert found.within_one >= 0.99
    assert found.exact > 0.9


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_file_of_another_model_is_not_within_a_step(name, x, tmp_path):
    quantized = quantize(model_of(CASES[name]), x)
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path, input_dtype="float32")
    for weight in quantized.trainable_weights:
        weight.assign(weight * 1.1)
    found = export.verify(quantized, path, x)
    assert found.maximum > 2
    assert "does not compute what was trained" in found.problems[0]


def test_no_file_is_written_whose_floats_are_others(x, tmp_path, monkeypatch):
    """As if the converter had rounded otherwise."""
    quantized = quantize(model_of(CASES["units"]), x)
    other = quantize(model_of(CASES["units"]), 2 * x)
    export.to_tflite(other, tmp_path / "other.tflite")
    content = (tmp_path / "other.tflite").read_bytes()
    monkeypatch.setattr("kbp.export.tflite.convert", lambda *_, **__: content)
    with pytest.raises(ValueError, match=r"was not exported\. Only"):
        export.to_tflite(quantized, tmp_path / "q.tflite", verify_with=x)
    assert not (tmp_path / "q.tflite").exists()


def test_step_is_that_of_the_range_times_the_unit(x, tmp_path):
    quantized = quantize(model_of(CASES["units"]), x)
    *_, last = fake_quantizers(quantized)
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path)
    outputs = export.Runner(path).predict_raw(x)
    steps = FloatSteps(path.read_bytes())
    (found,) = steps.of([x], [outputs]).values()
    expected = float(last.scale()) * UNITS["scale"][0]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-2)


def test_float_file_has_no_steps(x, tmp_path):
    model = model_of(CASES["units"])
    export.to_tflite(model, tmp_path / "f.tflite")
    assert export.verify(model, tmp_path / "f.tflite", x).unit == "float"
