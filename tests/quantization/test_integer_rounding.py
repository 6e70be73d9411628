"""Roundings of LiteRT's integer operations, against integers in NumPy."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp.quantization import integer_rounding

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
    found = as_numpy(
        integer_rounding.halves(
            ops.array(x), ops.array(scale), ops.array(float(zero)), "away"
        )
    )
    expected = litert_average(integers.sum(axis=1), count) - zero
    np.testing.assert_array_equal(np.round(found / scale), expected)
    np.testing.assert_allclose(found, expected * scale, atol=1e-5)


def test_halves_go_up():
    x = np.array([-1.5, -0.5, 0.5, 1.5, 0.2, -0.9], "float32") * 0.1
    found = integer_rounding.halves(
        ops.convert_to_tensor(x), ops.array(0.1), ops.array(7.0), "up"
    )
    np.testing.assert_allclose(
        as_numpy(found), [-0.1, 0, 0.1, 0.2, 0, -0.1], atol=1e-6
    )


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


@pytest.mark.parametrize("ratio", [0.4, 0.11, 0.0173, 0.0031])
def test_products_are_rounded_twice(ratio):
    rng = np.random.default_rng(0)
    # Products that fit eight bits when they are divided.
    total = rng.integers(-int(120 / ratio), int(120 / ratio), 20_000)
    unit = 0.0009
    scale = unit / ratio
    x = (total * unit).astype("float32")
    found = as_numpy(
        integer_rounding.twice(
            ops.convert_to_tensor(x), ops.array(scale), ops.array(unit)
        )
    )
    expected = litert_multiply(total, ratio)
    off = np.mean(np.round(found / scale) != expected)
    assert off < 2e-4  # float32 has 24 bits, LiteRT's product 31
    plain = np.mean(np.floor(x / scale + 0.5) != expected)
    assert ratio in (0.4, 0.0031) or plain > 10 * off + 1e-3


def test_nothing_is_rounded_while_ranges_are_unknown():
    x, zero = ops.array([0.3, -1.7]), ops.array(0.0)
    for found in (
        integer_rounding.halves(x, zero, zero, "away"),
        integer_rounding.twice(x, zero, ops.array(0.1)),
        integer_rounding.twice(x, ops.array(0.1), zero),
    ):
        np.testing.assert_array_equal(as_numpy(found), as_numpy(x))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs a gradient tape"
)
def test_gradients_pass_as_if_nothing_were_rounded():
    import tensorflow as tf

    x = tf.Variable([0.31, -1.77])
    with tf.GradientTape(persistent=True) as tape:
        ys = (
            integer_rounding.halves(x, 0.1, 3.0, "away"),
            integer_rounding.twice(x, 0.1, 0.001),
        )
    for y in ys:
        np.testing.assert_array_equal(tape.gradient(y, x), [1.0, 1.0])
