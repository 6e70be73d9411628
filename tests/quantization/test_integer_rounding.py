"""Roundings of LiteRT's integer operations, against integers in NumPy."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp.quantization import FakeQuantize, integer_rounding

ops = keras.ops


def litert_average(total, count):
    """`AveragePool` of LiteRT's `reference/integer_ops/pooling.h`."""
    half = count // 2
    total = np.where(total > 0, total + half, total - half)
    return np.sign(total) * (np.abs(total) // count)


@pytest.mark.parametrize("zero", [-128, -37, 0, 101])
@pytest.mark.parametrize("count", [2, 3, 4, 6, 9, 49])
def test_halves_go_away_from_the_integer_zero(count, zero):
    rng = np.random.default_rng(count)
    integers = rng.integers(-128, 128, (5000, count))
    scale = np.float32(0.0173)
    floats = ((integers - zero) * scale).astype("float32")
    x = floats.mean(axis=1, dtype="float32")
    found = moved(x, "away", scale, zero)
    expected = litert_average(integers.sum(axis=1), count) - zero
    np.testing.assert_array_equal(np.round(found / scale), expected)
    np.testing.assert_allclose(found, expected * scale, atol=1e-5)


@pytest.mark.parametrize("zero", [-128, -37, 0, 101])
@pytest.mark.parametrize("count", [2, 4, 6, 9, 64, 1024])
def test_halves_of_a_mean_go_to_even_integers(count, zero):
    rng = np.random.default_rng(count)
    integers = rng.integers(-128, 128, (5000, count))
    scale = np.float32(0.0173)
    floats = ((integers - zero) * scale).astype("float32")
    found = moved(floats.mean(axis=1, dtype="float32"), "even", scale, zero)
    expected = np.round(integers.sum(axis=1) / count) - zero
    np.testing.assert_array_equal(np.round(found / scale), expected)


def test_halves_go_up():
    x = np.array([-1.5, -0.5, 0.5, 1.5, 0.2, -0.9], "float32") * 0.1
    found = moved(x, "up", 0.1, 7)
    np.testing.assert_allclose(found, [-0.1, 0, 0.1, 0.2, 0, -0.1], atol=1e-6)


def litert_multiply(total, ratio):
    """`MultiplyByQuantizedMultiplier` of LiteRT's `common.h`, in integers."""
    fraction, exponent = np.frexp(ratio)
    multiplier = round(fraction * 2**31)
    product = total.astype(object) * multiplier
    nudged = [
        p + (1 << 30) if p >= 0 else p + 1 - (1 << 30) for p in product.tolist()
    ]
    high = np.array(
        [p // (1 << 31) if p >= 0 else -(-p // (1 << 31)) for p in nudged]
    )
    shift = int(-exponent)
    mask = (1 << shift) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> shift) + ((high & mask) > threshold)


@pytest.mark.parametrize(
    "ratio", [0.7123, 0.4, 0.25, 0.11, 0.0173, 2.0**-8, 0.0031]
)
def test_products_are_rounded_twice(ratio):
    rng = np.random.default_rng(0)
    # Products that fit eight bits when they are divided.
    total = rng.integers(-int(120 / ratio), int(120 / ratio), 20_000)
    unit = 2.0**-10
    scale = unit / ratio
    x = (total * unit).astype("float32")
    found = moved(x, "twice", scale, 0, unit)
    expected = litert_multiply(total, ratio)
    off = np.mean(np.round(found / scale) != expected)
    assert off < 2e-4  # float32 has 24 bits, LiteRT's product 31
    plain = np.mean(np.floor(x / scale + 0.5) != expected)
    assert plain > off or ratio in (0.7123, 0.0031)


def xnnpack_leaky(integers, zero_in, ratio, slope, zero_out):
    """`qs8-vlrelu` of XNNPACK."""
    inputs = zero_in - integers
    factors = np.where(inputs <= 0, ratio, ratio * slope)
    multipliers = np.rint(-256.0 * factors).astype(int)
    outputs = ((zero_out << 8) + 0x80 + inputs * multipliers) >> 8
    return np.clip(outputs, -128, 127)


@pytest.mark.parametrize("ratio", [0.61, 0.997])
def test_slopes_are_256ths(ratio):
    integers, zero = np.arange(-128, 128), -20
    unit = np.float32(0.031)
    x = ((integers - zero) * unit).astype("float32")
    y = np.where(x >= 0, x, np.float32(0.1) * x)
    units = np.where(x >= 0, unit, np.float32(0.1) * unit)
    found = moved(y, "fraction", unit / ratio, zero, units)
    expected = xnnpack_leaky(integers, zero, ratio, 0.1, zero) - zero
    inside = expected < 127 - zero
    np.testing.assert_array_equal(
        np.round(found / (unit / ratio))[inside], expected[inside]
    )


def moved(x, name, scale, zero, unit=None):
    scale = np.float32(scale)
    unit = scale if unit is None else np.asarray(unit, "float32")
    return as_numpy(
        integer_rounding.moved(
            ops.array(x),
            name,
            ops.array(scale),
            ops.array(np.float32(zero)),
            ops.array(unit),
        )
    )


@pytest.mark.parametrize("name", integer_rounding.ARITHMETICS)
def test_nothing_is_rounded_while_ranges_are_unknown(name):
    x = np.array([0.3, -1.7], "float32")
    for scale, unit in ((0.0, 0.0), (0.0, 0.1), (0.1, 0.0)):
        np.testing.assert_array_equal(moved(x, name, scale, 0, unit), x)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs a gradient tape"
)
@pytest.mark.parametrize("name", integer_rounding.ARITHMETICS)
def test_gradients_pass_as_if_nothing_were_rounded(name):
    import tensorflow as tf

    x = tf.Variable([0.31, -1.77])
    with tf.GradientTape() as tape:
        y = integer_rounding.moved(
            x, name, *map(tf.constant, (0.1, 3.0, 0.001))
        )
    np.testing.assert_array_equal(tape.gradient(y, x), [1.0, 1.0])


def test_what_is_close_below_a_half_goes_down():
    """Fake quantization alone, which counts from the lower end, rounds up."""
    ends = {"minimum": -1.0, "maximum": 1.0}
    quantizer = FakeQuantize("fixed", **ends)
    step = 2 / 255
    x = np.array([8.49999 * step], "float32")
    assert np.round(as_numpy(quantizer(x)) / step) == 9
    assert np.round(as_numpy(quantizer(x, arithmetic="nearest")) / step) == 8
