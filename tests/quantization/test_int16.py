"""Dense layers of 16 bits between layers in float."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

import kbp
from kbp import export
from kbp.quantization import FakeQuantize, quantize, quantize_aware

HEAVY = {"int16": ["heavy"], "skip": ["before", "after"]}


def model_and_data(**options):
    """Return a Dense layer between layers in float, and heavy-tailed data."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((16,), name="x")
    x = layers.Rescaling(1.5, name="before")(inputs)
    x = layers.Dense(5, name="heavy", **options)(x)
    model = keras.Model(inputs, layers.Rescaling(2.0, name="after")(x))
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model, rng.standard_t(1.5, (256, 16)).astype("float32")


def test_rounds_to_65535_values_around_zero():
    data = np.array([-2.0, 0.0, 3.0, 1e-5, 7e-5], "float32")
    rounder = FakeQuantize("int16")
    rounder.build(data.shape)
    rounder.observing = True
    rounder(data)
    rounder.observing = False
    rounder.set_observed_range()
    step = 3.0 / 32767
    expected = np.round(data.astype("float64") / step) * step
    np.testing.assert_allclose(as_numpy(rounder(data)), expected, atol=1e-6)
    assert float(rounder.scale()) == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("use_bias", [False, True])
def test_file_computes_in_16_bits_what_was_trained(tmp_path, use_bias):
    model, data = model_and_data(use_bias=use_bias)
    quantized = quantize(model, data, **HEAVY)
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(quantized, path, input_dtype="float32")
    (dense,) = (x for x in audit.operations if x.name == "FULLY_CONNECTED")
    assert dense.inputs[:2] == ("INT16", "INT8")
    assert dense.outputs == ("INT16",)
    found = export.verify(quantized, path, data)
    assert found.unit == "LSB"
    assert found.within_one >= 0.99, found


def test_heavy_tails_lose_less_than_in_eight_bits():
    model = kbp.models.BPTransformer(
        (24, 3), 4, head="forecasting", num_layers=0
    )
    steps = np.random.default_rng(0).integers(-127, 128, (24, 4))
    steps[0] = 127  # the kernel's rounding changes nothing then
    model.get_layer("linear_skip").kernel.assign(steps / 127)
    x = np.random.default_rng(0).standard_t(1.5, (64, 24, 3)).astype("float32")
    exact = as_numpy(model(x))
    gaps = [
        np.abs(as_numpy(quantize(model, x, int16=names)(x)) - exact).mean()
        for names in ([], ["linear_skip"])
    ]
    assert gaps[1] < gaps[0] / 100, gaps


@pytest.mark.long
def test_a_forecasts_linear_skip_has_16_bits(tmp_path):
    model = kbp.models.BPTransformer(
        (24, 3), 4, head="forecasting", patch_size=4, width=8, num_heads=1
    )
    x = np.random.default_rng(0).standard_t(1.5, (64, 24, 3)).astype("float32")
    quantized = quantize(model, x, int16=["linear_skip"], skip=["sum"])
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(quantized, path)
    inputs = [
        o.inputs[0] for o in audit.operations if o.name == "FULLY_CONNECTED"
    ]
    assert inputs.count("INT16") == 1
    assert set(inputs) == {"INT16", "INT8"}
    gap = np.abs(export.Runner(path).predict(x) - as_numpy(quantized(x)))
    assert gap.mean() < 0.01 * np.abs(as_numpy(quantized(x))).mean()


@pytest.mark.parametrize(
    "options",
    [
        {"int16": ["heavy"]},
        {"int16": ["heavy"], "skip": ["before"]},
        {"int16": [layers.Dense], "skip": ["after"]},
        {"int16": ["before"], "skip": ["heavy"]},
        {"int16": ["heavy"], "skip": ["before", "heavy", "after"]},
    ],
)
def test_other_layers_are_refused_by_name(options):
    model, data = model_and_data()
    with pytest.raises(ValueError, match="`int16` must be a Dense layer"):
        quantize_aware(model, data, **options)


@pytest.mark.parametrize(
    ("given", "said"),
    [("heavy", "must be a list"), (["heavi"], "Did you mean|names no layer")],
)
def test_what_names_no_layer_is_refused(given, said):
    model, _ = model_and_data()
    with pytest.raises(ValueError, match=said):
        quantize_aware(model, int16=given)


def test_ranges_of_16_bits_train_save_and_export(tmp_path):
    model = kbp.models.BPTransformer(
        (24, 3), 4, head="forecasting", num_layers=0
    )
    x = np.random.default_rng(0).normal(size=(64, 24, 3)).astype("float32")
    quantized = quantize_aware(model, int16=["linear_skip"])
    quantized.compile("adam", "mse")
    quantized.fit(x, x[:, -4:], epochs=2, verbose=0)
    path = tmp_path / "model.keras"
    quantized.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(as_numpy(again(x)), as_numpy(quantized(x)))
    export.to_tflite(again, tmp_path / "model.tflite")
    for reference in (False, True):
        found = export.verify(
            again, tmp_path / "model.tflite", x, reference=reference
        )
        assert found.within_one >= 0.99, found
