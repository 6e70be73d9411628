"""Single operations of .tflite files, against the model they were made from.

What differs here adds up in a network.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from kbp import export
from kbp.benchmarks.exactness.cases import CASES, measure
from kbp.quantization import (
    fake_quantizers,
    integer_rounding,
    quantize_aware,
)

layers, ops = keras.layers, keras.ops


# Of `CASES`, the shares of the results that may be one step away, with XNNPACK
# and with the reference kernels, and how many steps they may be away there.
BOUNDS = {
    "AveragePooling2D": (0, 0, 0),
    "AveragePooling2D, same, odd": (0, 0, 0),
    "Concatenate": (1e-3, 1e-2, 1),
    "LeakyReLU": (0, 0.1, 1),
    "MaxPooling2D, ReLU6, Maximum": (1e-3, 5e-3, 1),
    "MultiHeadAttention": (5e-3, 0.2, 2),
    "PReLU": (5e-3, 1e-2, 1),
    "UpSampling2D, bilinear": (0, 0.1, 1),
    "matmul": (1e-4, 1e-4, 1),
}


def check(name, folder):
    off, off_reference, maximum = BOUNDS.get(name, (2e-3, 0.4, 2))
    found = measure(CASES[name], folder)
    assert found["maximum"] <= 1
    assert found["off"] <= off
    assert found["off_reference"] <= off_reference
    assert found["maximum_reference"] <= maximum


@pytest.mark.long
@pytest.mark.parametrize("name", BOUNDS)
def test_operation_is_rounded_as_litert_rounds_it(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*CASES} - {*BOUNDS}))
def test_more_operations_are_rounded_as_litert_rounds_them(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.6])  # zero points odd and even
@pytest.mark.parametrize(
    "mean",
    [
        layers.GlobalAveragePooling2D(),
        lambda x: ops.mean(x, axis=(1, 2)),
        lambda x: layers.GlobalAveragePooling1D()(layers.Reshape((16, 8))(x)),
    ],
)
def test_mean_in_the_scale_of_its_input_is_rounded_as_litert_does(
    mean, offset, tmp_path
):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3), name="x")
    bias = keras.initializers.Constant(offset)
    x = layers.Conv2D(8, 1, bias_initializer=bias)(inputs)
    joined = layers.Concatenate()([mean(x), layers.GlobalMaxPooling2D()(x)])
    data = np.random.default_rng(0).normal(size=(256, 4, 4, 3))
    quantized = quantize_aware(keras.Model(inputs, joined), data)
    export.to_tflite(quantized, tmp_path / "model.tflite")
    found = export.verify(quantized, tmp_path / "model.tflite", data)
    assert found.exact == 1, found  # one of 50 means is a half


def test_range_of_a_join_holds_all_that_is_joined():
    inputs = keras.Input((3,))
    small = layers.Dense(2, name="small")(inputs)
    large = layers.Dense(2, name="large")(small)
    model = keras.Model(inputs, layers.Concatenate()([small, 9.0 * large]))
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    quantized = quantize_aware(model, x)
    (shared,) = (q for q in fake_quantizers(quantized) if "small" in q.name)
    expected = np.asarray(model(x))
    low, high = (float(v) for v in shared.variables)
    assert low == pytest.approx(expected.min(), rel=1e-5)
    assert high == pytest.approx(expected.max(), rel=1e-5)


@pytest.mark.parametrize("small", [1.0, 3.0])
def test_training_moves_the_range_of_a_join_by_all_operands(small):
    inputs = keras.Input((1,))
    operand = small * inputs
    joined = layers.Maximum()([2.0 * inputs, operand])
    out = layers.Dense(1)(layers.Concatenate()([joined, operand, operand * 0]))
    x = np.array([[-1.0], [1.0]], "float32")
    quantized = quantize_aware(keras.Model(inputs, out), x)
    shared = {q for q in fake_quantizers(quantized) if q.kind == "tensor"}
    before = {q: [float(v) for v in q.variables] for q in shared}
    for _ in range(20):
        quantized(2 * x, training=True)
    widest = max(small, 2.0)
    for quantizer, (_, high) in before.items():
        if high == pytest.approx(widest):  # the join's
            after = [float(v) for v in quantizer.variables]
            expected = widest * (2 - 0.999**20)
            assert after[1] == pytest.approx(expected, rel=1e-3)
            break
    else:
        pytest.fail("no range is that of the join")


def test_quantized_joins_are_saved_and_loaded(tmp_path):
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 1)(inputs)
    x = layers.Concatenate()([x, layers.AveragePooling2D(1)(x)])
    x = layers.Reshape((64, x.shape[-1]))(x)
    model = keras.Model(inputs, ops.matmul(x, ops.transpose(x, (0, 2, 1))))
    data = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype("float32")
    quantized = quantize_aware(model, data)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(data), quantized(data))
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    export.to_tflite(quantized, first)
    export.to_tflite(loaded, second)
    assert export.verify(loaded, second, data).exact > 0.999


def test_page_of_the_docs_says_how_exact_a_file_is(
    tmp_path, monkeypatch, capsys
):
    page = Path(__file__).parents[2] / "docs" / "exactness.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    found = names["found"]
    assert found.exact > 0.99
    assert found.from_original < 0.1
    assert found.problems == ()
    assert "within one step" in capsys.readouterr().out


def test_file_that_left_the_model_is_said_and_not_written(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    quantized = quantize_aware(model, 0.05 * x)  # cuts off nearly everything
    path = tmp_path / "model.tflite"
    export.to_tflite(quantized, path, verify_with=x)
    found = export.verify(quantized, path, x, original=model)
    (problem,) = found.problems
    assert f"{found.from_original:.2f} of its standard deviation" in problem
    floats = keras.ops.convert_to_numpy(model(x)).astype("float64")
    gap = export.Runner(path).predict(x) - floats
    expected = np.sqrt(np.mean(gap**2, axis=0)) / floats.std(axis=0)
    assert found.from_original == pytest.approx(expected.max(), rel=1e-5)
    # Another model than that of the file's.
    other = quantize_aware(keras.models.clone_model(model), x)
    assert "does not compute" in export.verify(other, path, x).problems[0]


def test_file_that_does_not_compute_the_model_is_not_written(
    tmp_path, monkeypatch
):
    # As if LiteRT averaged otherwise than the model does.
    monkeypatch.setitem(
        integer_rounding.ARITHMETICS, "away", lambda x, zero, ratio: x // 1 - 3
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(3, 3),
            layers.AveragePooling2D(2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 2)).astype("float32")
    quantized = quantize_aware(model, x)
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="was not exported"):
        export.to_tflite(quantized, path, verify_with=x)
    assert not path.exists()


def regression(last):
    """A network of two answers of which one is far smaller."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = layers.Dense(2)(layers.Dense(16, activation="relu")(inputs))
    return keras.Model(inputs, last(x))


UNITS = {
    "rescaling": lambda: layers.Rescaling([0.03, 900.0], [0.1, 4000.0]),
    "normalization": lambda: layers.Normalization(
        invert=True, mean=[0.1, 4000.0], variance=[0.03**2, 900.0**2]
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", UNITS)
def test_answers_in_units_of_their_own_stay_in_float(name, tmp_path):
    x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    model = regression(UNITS[name]())
    quantized = quantize_aware(model, x)
    path = tmp_path / "model.tflite"
    export.to_tflite(quantized, path)
    found = export.verify(quantized, path, x, original=model)
    assert found.from_original < 0.05  # the worse of the two
    assert found.problems == ()


def test_answers_that_one_range_cannot_hold_are_said(tmp_path):
    x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    factors = keras.ops.convert_to_tensor([[0.03, 900.0]])
    model = regression(layers.Dense(2, use_bias=False))
    kernel = model.layers[-1].kernel
    kernel.assign(kernel * factors)
    quantized = quantize_aware(model, x)
    path = tmp_path / "model.tflite"
    export.to_tflite(quantized, path)
    found = export.verify(quantized, path, x, original=model)
    assert found.from_original > 0.9  # the small one is a constant
    assert "Rescaling" in found.problems[0]


def test_a_model_that_answers_all_alike_is_said_to(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = regression(layers.Dense(2, bias_initializer="ones"))
    kernel = model.layers[-1].kernel
    kernel.assign(1e-6 * kernel)  # as of an untrained network
    quantized = quantize_aware(model, x)
    path = tmp_path / "model.tflite"
    export.to_tflite(quantized, path)
    found = export.verify(quantized, path, x, original=model)
    assert found.constant
    *_, problem = found.problems
    assert "hardly differs between examples" in problem
    assert "Normalization" not in problem


def test_numbers_that_no_eight_bits_hold_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(64, 4))
    for factor in (1e300, 1e38, np.nan, np.inf):
        with pytest.raises(ValueError, match="beyond 1e"):
            quantize_aware(model, factor * x)
    model.layers[0].kernel.assign(model.layers[0].kernel * 1e9)
    quantized = quantize_aware(model, 1e28 * x)
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="eight bits can hold"):
        export.to_tflite(quantized, path)
    assert not path.exists()


def test_nonsense_is_not_verified(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    models = [
        keras.Sequential([keras.Input((4,)), layers.Dense(n)]) for n in (1, 2)
    ]
    path = tmp_path / "model.tflite"
    first, second = (quantize_aware(model, x) for model in models)
    export.to_tflite(second, path)
    with pytest.raises(ValueError, match="file of another model"):
        export.verify(first, path, x)
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinities"):
            export.verify(second, path, wrong * x)
    with pytest.raises(ValueError, match="are NaN"):
        export.Runner(path).predict(np.nan * x)
