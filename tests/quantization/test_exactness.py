"""Single operations of .tflite files, against the model they were made from.

What differs here adds up in a network.
"""

import keras
import numpy as np
import pytest

from kbp import export
from kbp.quantization import fake_quantizers, quantize_aware

layers, ops = keras.layers, keras.ops


def rows(x):
    return layers.Reshape((-1, 8))(x)


def beside(join):
    """Join what a layer reads with what it gives."""
    return lambda x: join([x, layers.Conv2D(8, 1)(x)])


def pooled_twice(x):
    x = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    z = layers.ReLU(6.0)(x)
    return layers.Maximum()([layers.Conv2D(8, 1)(z), z])


def pooled(x):
    return layers.ReLU(6.0)(layers.MaxPooling2D(2)(x))


# By what it is called: a layer or a function, then the shares of the results
# that may be one step away with XNNPACK and with the reference kernels. None is
# further away.
OPERATIONS = {
    "average pooling": (layers.AveragePooling2D(2), 0, 0),
    "odd pooling": (layers.AveragePooling2D(3, 2, padding="same"), 0, 0),
    "rows' pooling": (lambda x: layers.AveragePooling1D(2)(rows(x)), 0, 0),
    "bilinear": (layers.UpSampling2D(2, interpolation="bilinear"), 0, 0.1),
    "leaky": (layers.LeakyReLU(0.1), 0, 0.1),
    "attention": (
        lambda x: layers.MultiHeadAttention(2, 4)(rows(x), rows(x)),
        2e-3,
        0.1,
    ),
    "product": (
        lambda x: ops.matmul(rows(x), ops.transpose(rows(x), (0, 2, 1))),
        1e-4,
        1e-4,
    ),
    "concatenation": (beside(layers.Concatenate()), 1e-3, 5e-3),
    "maximum": (pooled_twice, 1e-3, 5e-3),
    "minimum": (beside(layers.Minimum()), 1e-3, 5e-3),
}
MORE = {
    "softmax": (layers.Softmax(), 0, 1e-4),
    "sigmoid": (layers.Activation("sigmoid"), 0, 0),
    "tanh": (layers.Activation("tanh"), 0, 0),
    "gelu": (layers.Activation("gelu"), 0, 0),
    "silu": (layers.Activation("silu"), 0, 0),
    "pooled and clipped": (pooled, 0, 0),
    "parametric": (layers.PReLU(shared_axes=[1, 2]), 0.05, 0.05),
    "sum": (lambda x: x + x[:, ::-1], 0, 0),
    "square": (lambda x: layers.Multiply()([x, x]), 0, 0.02),
    "global average": (layers.GlobalAveragePooling2D(), 0, 0.3),
    "mean of channels": (lambda x: ops.mean(x, axis=-1), 0, 0.4),
    "convolution": (layers.Conv2D(8, 3), 1e-3, 5e-3),
    "depthwise": (layers.DepthwiseConv2D(3), 1e-3, 1e-2),
    "transposed": (layers.Conv2DTranspose(8, 3, strides=2), 1e-3, 1e-2),
    "dense": (lambda x: layers.Dense(8)(layers.Flatten()(x)), 1e-3, 5e-3),
}


def check(operation, bounds, folder):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 8))
    model = keras.Model(inputs, operation(inputs))
    x = np.random.default_rng(0).normal(size=(128, 8, 8, 8)).astype("float32")
    quantized = quantize_aware(model, x)
    path = folder / "model.tflite"
    export.to_tflite(quantized, path)
    for reference, bound in enumerate(bounds):
        found = export.verify(quantized, path, x, reference=bool(reference))
        assert found.maximum <= 1
        assert 1 - found.exact <= bound


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_rounded_as_litert_rounds_it(name, tmp_path):
    operation, *bounds = OPERATIONS[name]
    check(operation, bounds, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_more_operations_are_rounded_as_litert_rounds_them(name, tmp_path):
    operation, *bounds = MORE[name]
    check(operation, bounds, tmp_path)


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
    x = layers.Concatenate()([x, layers.AveragePooling2D(1)(x), inputs])
    x = rows_of(x)
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


def rows_of(x):
    return layers.Reshape((64, x.shape[-1]))(x)
