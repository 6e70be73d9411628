"""Rows of a table in their own units, and numbers back in them."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export
from kbp.layers import InverseStandardization, TableEncoding
from kbp.quantization import quantize_aware

CATEGORIES = [0, 3, 0, 2]
MEAN, DEVIATION = [4e6, 2e-6], [1e6, 5e-7]
# Two points standardize, four are a line with corners.
KNOTS = [[0.0, 8e6], [1e-6, 1.5e-6, 2e-6, 4e-6]]
HEIGHTS = [[-4.0, 4.0], [-2.0, 0.5, 1.0, 3.0]]


def reference(rows):
    """Float64, column by column, by NumPy's interpolation."""
    numbers, known = [], []
    lines = iter(zip(KNOTS, HEIGHTS, strict=True))
    for column, count in enumerate(CATEGORIES):
        x = rows[:, column].astype("float64")
        if count:
            known += [x == category for category in range(1, count + 1)]
        else:
            numbers.append(np.interp(x, *next(lines)))
    return np.stack([*numbers, *known], axis=1)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(MEAN[0], 3 * DEVIATION[0], 64),
        rng.integers(0, 5, 64),  # 0 and 4 are unknown
        rng.normal(MEAN[1], DEVIATION[1], 64),
        rng.integers(-1, 3, 64),
    ]
    return np.stack(columns, axis=1).astype("float32")


def encoding(num_knots=4):
    layer = TableEncoding(CATEGORIES, num_knots=num_knots)
    layer.build((None, 4))
    layer.set_knots(KNOTS, heights=HEIGHTS)
    return layer


@pytest.mark.parametrize("num_knots", [4, 7])
def test_encoding_is_the_formula(rows, num_knots):
    found = as_numpy(encoding(num_knots)(rows))
    expected = reference(rows)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert set(np.unique(found[:, 2:])) == {0.0, 1.0}
    # A row whose categories are unknown has none.
    unknown = ~np.isin(rows[:, 1], [1, 2, 3])
    assert 0 < unknown.sum() < 64
    assert not found[unknown, 2:5].any()


def test_half_precision_keeps_large_numbers_apart(rows):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = encoding()
        found = as_numpy(keras.ops.cast(layer(rows), "float32"))
    finally:
        keras.config.set_dtype_policy("float32")
    # Only the result has 8 bits.
    np.testing.assert_allclose(found, reference(rows), rtol=2**-8)


def test_tables_of_one_kind_of_columns_have_one_kind_of_features():
    x = np.array([[1.0, 2.0], [2.0, 0.0]], "float32")
    numbers = TableEncoding([0, 0])(x)
    np.testing.assert_array_equal(as_numpy(numbers), x)
    known = as_numpy(TableEncoding([2, 2])(x))
    np.testing.assert_array_equal(known, [[1, 0, 0, 1], [0, 1, 0, 0]])


def test_inverse_is_the_formula():
    layer = InverseStandardization()
    layer.build((None, 2))
    layer.set_statistics(mean=MEAN, deviation=DEVIATION)
    z = np.random.default_rng(0).normal(size=(5, 2))
    expected = z * DEVIATION + MEAN
    found = as_numpy(layer(z.astype("float32")))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("reference_kernels", [False, True])
def test_file_takes_and_gives_units_with_integers_between(
    rows, reference_kernels, tmp_path
):
    inputs = keras.Input((4,))
    encode = TableEncoding(CATEGORIES, num_knots=4)
    units = InverseStandardization()
    x = keras.layers.Dense(8, activation="relu")(encode(inputs))
    model = keras.Model(inputs, units(keras.layers.Dense(1)(x)))
    encode.set_knots(KNOTS, heights=HEIGHTS)
    units.set_statistics(mean=[3e5], deviation=[1e4])
    rounded = quantize_aware(model, [rows])
    audit = export.to_tflite(rounded, tmp_path / "model.tflite")
    integers = {
        "FULLY_CONNECTED": ("INT8",),
        "CONCATENATION": ("INT8",),
    }
    found = [op for op in audit.operations if op.name in integers]
    assert len(found) == 3
    assert all(op.outputs == integers[op.name] for op in found)
    check = export.verify(
        rounded,
        tmp_path / "model.tflite",
        [rows],
        reference=reference_kernels,
    )
    assert check.unit == "LSB"
    expected = as_numpy(model(rows))
    step = np.ptp(expected) / 255
    assert check.maximum <= 1.01 * step
    runner = export.Runner(tmp_path / "model.tflite")
    (details,) = runner.interpreter.get_input_details()
    assert details["dtype"] == np.float32
    gap = np.abs(runner.predict(rows) - expected)
    assert gap.max() < 10 * step


def test_largest_values_are_not_cut_off():
    inputs = keras.Input((1,))
    encode, units = TableEncoding([0]), InverseStandardization()
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Model(inputs, units(dense(encode(inputs))))
    encode.set_knots([[-4e6, 4e6]], heights=[[-4, 4]])
    units.set_statistics(mean=[5.0], deviation=[1e-3])
    # One row of one batch is far out: an average range would lose it.
    rows = np.linspace(-1e6, 1e6, 80, dtype="float32").reshape(8, 10, 1)
    rows[3, 4] = 3.5e6
    rounded = quantize_aware(model, [*rows])
    found, expected = (as_numpy(m(rows[3])) for m in (rounded, model))
    # Twice a step, of the input and of the output.
    np.testing.assert_allclose(found, expected, atol=2 * 4.5e-3 / 255)


def test_pruning_and_shrinking_leave_the_encoding_alone(rows):
    inputs = keras.Input((4,))
    encode = TableEncoding(CATEGORIES, num_knots=4)
    x = keras.layers.Dense(8, activation="relu")(encode(inputs))
    dense = keras.layers.Dense(8, activation="relu", name="inside")
    model = keras.Model(inputs, keras.layers.Dense(2)(dense(x)))
    encode.set_knots(KNOTS, heights=HEIGHTS)
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel * (np.arange(8) < 3), bias])
    small = kbp.sparsity.shrink(model)
    assert small.get_layer("inside").units == 3
    np.testing.assert_allclose(
        as_numpy(small(rows)), as_numpy(model(rows)), atol=1e-5
    )
    masked = kbp.sparsity.apply_dtm(model)
    assert [x.name for x in kbp.sparsity.masked_layers(masked)] == ["inside"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TableEncoding([]), "`categories` must hold.*Received"),
        (lambda: TableEncoding([2, -1]), "`categories` must be a whole"),
        (lambda: TableEncoding([2, 1.5]), "`categories` must be a whole"),
        (lambda: TableEncoding([2], num_knots=1), "`num_knots` must be"),
        (lambda: encoding(3), "`knots` must hold 2 to 3 ascending"),
        (
            lambda: TableEncoding([2])(np.ones((1, 3))),
            "`inputs` must have the columns of `categories`, 1",
        ),
    ],
)
def test_wrong_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
