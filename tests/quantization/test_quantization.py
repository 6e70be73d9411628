"""Fake quantization, its placement, and the integers it becomes."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import kbp
from kbp import export, sparsity
from kbp.quantization import FakeQuantize, calibrate, fake_quantizers
from kbp.quantization import quantize_aware as quantize

conv = layers.Conv2D


def image_model(body, shape=(8, 8, 4)):
    inputs = keras.Input(shape, name="input")
    return keras.Model(inputs, body(inputs))


def conv_bn_relu(x):
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def residual(x):
    hidden = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    return kbp.layers.ResidualConv2D(6, batch_norm=True)(hidden, x)


def fusion(x):
    coarse = layers.MaxPooling2D()(conv(6, 3, padding="same")(x))
    return kbp.layers.FeatureFusion(5, batch_norm=True)([x, coarse])


def concatenation(x):
    a, b = conv(3, 1, activation="relu")(x), conv(5, 1)(x)
    return conv(4, 1)(layers.Concatenate()([a, b, x]))


def shared_concatenation(x):
    a = conv(4, 1)(x)
    return layers.Add()([conv(8, 1)(a), layers.Concatenate()([a, x])])


def upsampling(x):
    x = layers.UpSampling2D(2)(conv(4, 3, padding="same")(x))
    return conv(4, 3)(layers.ZeroPadding2D(1)(x))


def attention(x):
    return kbp.layers.SelfAttention(2)(kbp.layers.PositionEmbedding()(x))


CASES = {
    "conv": (lambda x: conv(4, 3)(x), (8, 8, 4)),
    "conv_relu": (lambda x: conv(4, 3, activation="relu")(x), (8, 8, 4)),
    "conv_strided": (
        lambda x: conv(4, 3, strides=2, padding="same")(x),
        (8, 8, 4),
    ),
    "conv_bn": (
        lambda x: layers.BatchNormalization()(conv(4, 3)(x)),
        (8, 8, 4),
    ),
    "conv_bn_relu": (conv_bn_relu, (8, 8, 4)),
    "conv_activation": (
        lambda x: layers.Activation("relu")(conv(4, 3)(x)),
        (8, 8, 4),
    ),
    "dense": (lambda x: layers.Dense(4)(x), (6,)),
    "dense_relu": (lambda x: layers.Dense(4, activation="relu")(x), (6,)),
    "dense_on_images": (lambda x: layers.Dense(4)(x), (8, 8, 4)),
    "dense_softmax": (lambda x: layers.Dense(4, activation="softmax")(x), (6,)),
    "dense_sigmoid": (lambda x: layers.Dense(4, activation="sigmoid")(x), (6,)),
    "dense_tanh": (lambda x: layers.Dense(4, activation="tanh")(x), (6,)),
    "softmax": (lambda x: layers.Softmax()(layers.Dense(5)(x)), (6,)),
    "add": (lambda x: layers.Add()([x, conv(4, 1)(x)]), (8, 8, 4)),
    "add_relu": (
        lambda x: layers.ReLU()(layers.Add()([x, conv(4, 1)(x)])),
        (8, 8, 4),
    ),
    "add_three": (
        lambda x: layers.Add()([x, conv(4, 1)(x), conv(4, 1)(x)]),
        (8, 8, 4),
    ),
    "plus": (lambda x: x + conv(4, 1)(x), (8, 8, 4)),
    "concatenate": (concatenation, (8, 8, 4)),
    "concatenate_shared": (shared_concatenation, (8, 8, 4)),
    "max_pooling": (
        lambda x: layers.MaxPooling2D()(conv(4, 1)(x)),
        (8, 8, 4),
    ),
    "keyword_calls": (
        lambda x: layers.MaxPooling2D(2)(
            inputs=layers.Add()(inputs=[x, conv(4, 1)(x)])
        ),
        (8, 8, 4),
    ),
    "average_pooling": (
        lambda x: layers.AveragePooling2D(2)(conv(4, 1)(x)),
        (8, 8, 4),
    ),
    "global_pooling": (
        lambda x: layers.GlobalAveragePooling2D()(conv(4, 1)(x)),
        (8, 8, 4),
    ),
    "global_pooling_1d": (
        lambda x: layers.GlobalAveragePooling1D()(layers.Dense(4)(x)),
        (6, 4),
    ),
    "upsampling": (upsampling, (4, 4, 4)),
    "flatten_dropout": (
        lambda x: layers.Dense(3)(layers.Dropout(0.5)(layers.Flatten()(x))),
        (4, 4, 2),
    ),
    "reshape_permute": (
        lambda x: layers.Dense(3)(
            layers.Permute((2, 1))(layers.Reshape((8, 4))(x))
        ),
        (4, 4, 2),
    ),
    "residual_dense": (
        lambda x: kbp.layers.ResidualDense(4)(layers.Dense(5)(x), x),
        (6,),
    ),
    "residual_conv2d": (residual, (8, 8, 4)),
    "fusion": (fusion, (8, 8, 4)),
    "attention": (attention, (6, 8)),
    "dtm_dense": (
        lambda x: kbp.layers.DTMDense(4, threshold=0.2)(x),
        (6,),
    ),
    "dtm_conv2d": (
        lambda x: kbp.layers.DTMConv2D(4, 3, threshold=0.1)(x),
        (8, 8, 4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_trains_and_exports_all_int8_within_one_lsb(case, tmp_path):
    body, shape = CASES[case]
    model = image_model(body, shape)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, *shape)).astype("float32")
    q = quantize(model, [x])
    # Calibrated, 8 bits lose at most a few steps of 1/255 of the range.
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(q(x)) - expected).max()
    assert gap < 0.04 * np.ptp(expected), gap
    target = rng.normal(size=(16, *q.output_shape[1:])).astype("float32")
    before = [as_numpy(v) for v in q.trainable_variables]
    q.compile(keras.optimizers.SGD(0.01), "mse")
    q.fit(x, target, epochs=2, verbose=0)
    after = [as_numpy(v) for v in q.trainable_variables]
    assert any(
        not np.array_equal(a, b) for a, b in zip(before, after, strict=True)
    )
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(q, path)  # raises on a float operation
    assert audit.operations
    assert not audit.float_operations
    check = export.verify(q, path, [x])
    assert check.unit == "LSB"
    assert check.within_one >= 0.999, check


def test_calibrated_model_is_near_the_float_model():
    model = kbp.models.PyramidBPNet((8, 8, 1), 4, width=8)
    x = np.random.default_rng(0).random((16, 8, 8, 1), "float32")
    expected = as_numpy(model(x))
    found = as_numpy(quantize(model, [x])(x))
    # 8 bits hold 1/256 of the range; some layers add up.
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_calibration_sets_ranges_from_the_batches():
    model = image_model(
        lambda x: layers.Dense(3, kernel_initializer="identity")(x), (3,)
    )
    batches = [np.full((2, 3), v, "float32") for v in (1.0, 3.0, -2.0)]
    q = quantize(model, batches)
    ranges = {
        f.name: [float(as_numpy(v)) for v in f.variables]
        for f in fake_quantizers(q)
    }
    assert ranges["input_quant"] == [-2, 3]  # the union
    assert ranges["dense_quant"] == pytest.approx([-2 / 3, 4 / 3])  # the mean
    calibrate(q, batches[:1])
    quantizer = next(f for f in fake_quantizers(q) if f.name == "input_quant")
    assert [float(as_numpy(v)) for v in quantizer.variables] == [0, 1]


def test_average_pooling_leaves_the_range_of_its_input_alone():
    model = image_model(
        lambda x: layers.AveragePooling2D(4)(
            layers.Dense(1, kernel_initializer="ones", name="dense")(x)
        ),
        (4, 4, 1),
    )
    x = np.zeros((1, 4, 4, 1), "float32")
    x[0, 0, 0] = 16.0  # the average is 1
    q = quantize(model, [x])
    quantizer = next(f for f in fake_quantizers(q) if f.name == "dense_quant")
    assert [float(as_numpy(v)) for v in quantizer.variables] == [0, 16]
    np.testing.assert_allclose(as_numpy(q(x)).ravel(), 1, atol=16 / 255)
    for _ in range(3):
        q(x, training=True)
    assert float(as_numpy(quantizer.variables[1])) == pytest.approx(16)


def test_saved_in_the_middle_of_training_it_goes_on(tmp_path):
    x = np.random.default_rng(0).random((16, 8, 8, 1), "float32")
    y = np.arange(16) % 4
    model = kbp.models.PyramidBPNet((8, 8, 1), 4, width=8)
    q = quantize(sparsity.apply_dtm(model), [x])
    q.compile(
        kbp.HybridOptimizer(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    q.fit(x, y, verbose=0, shuffle=False)
    q.save(tmp_path / "q.keras")
    loaded = keras.saving.load_model(tmp_path / "q.keras")
    for m in (q, loaded):
        m.fit(x, y, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(q.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))


def test_pruned_weights_stay_zero_in_the_file(tmp_path):
    x = np.random.default_rng(0).random((16, 8, 8, 1), "float32")
    model = sparsity.apply_dtm(kbp.models.PyramidBPNet((8, 8, 1), 4, width=16))
    model.compile("sgd", "mse")
    model.fit(
        x,
        np.zeros((16, 4)),
        verbose=0,
        callbacks=[sparsity.DTMSchedule(0.75)],
    )
    zeros = sparsity.kernel_sparsity(model)
    q = quantize(model, [x])
    q.compile(keras.optimizers.SGD(0.1), "mse")
    q.fit(x, np.ones((16, 4)), epochs=3, verbose=0)
    assert sparsity.kernel_sparsity(q) >= zeros
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    assert 1 - audit.nonzero / audit.parameters > zeros - 0.05


def test_model_given_in_is_left_alone():
    model = kbp.models.PyramidBPNet((8, 8, 1), 4, width=8)
    x = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    weights, outputs = model.get_weights(), as_numpy(model(x))
    q = quantize(model, [x])
    q.compile("sgd", "mse")
    q.fit(x, np.ones((4, 4)), verbose=0)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(as_numpy(model(x)), outputs)


def test_every_output_is_rounded(tmp_path):
    """An output that something else uses too must not stay unrounded."""

    def outputs(x):
        a, b = conv(3, 1)(x), conv(3, 1)(x)
        return [a, layers.ReLU()(a), b, layers.Concatenate()([a, b])]

    model = image_model(outputs)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    for y in quantize(model, [x])(x):
        assert len(np.unique(as_numpy(y))) <= 256
    audit = export.to_tflite(quantize(model, [x]), tmp_path / "q.tflite")
    assert not audit.float_operations


def test_shared_layer_is_exported_in_int8(tmp_path):
    layer = layers.Dense(4, activation="relu")
    model = image_model(lambda x: layer(layer(x)))
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(model, [x])
    assert not export.to_tflite(q, tmp_path / "q.tflite").float_operations
    # The converter gives a kernel with two uses scales by channel, so its
    # integers are not those of training; two steps are two LSB.
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one > 0.95


def test_several_inputs_are_each_rounded(tmp_path):
    a, b = keras.Input((6,), name="a"), keras.Input((4,), name="b")
    outputs = layers.Add()([layers.Dense(3)(a), layers.Dense(3)(b)])
    model = keras.Model([a, b], outputs)
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(8, n)).astype("float32") for n in (6, 4)]
    q = quantize(model, [(x, None)])
    assert {f.name for f in fake_quantizers(q)} >= {"a_quant", "b_quant"}
    path = tmp_path / "q.tflite"
    assert not export.to_tflite(q, path).float_operations
    with pytest.raises(ValueError, match="has 2 inputs and 1 outputs"):
        export.Runner(path)


def test_nested_quantized_model_is_exported_in_int8(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    q = quantize(image_model(conv_bn_relu), [x])
    inputs = keras.Input((8, 8, 4))
    outer = keras.Model(inputs, q(inputs))
    audit = export.to_tflite(outer, tmp_path / "q.tflite")
    assert not audit.float_operations


def test_model_of_any_size_is_calibrated():
    model = image_model(lambda x: conv(2, 3)(x), (None, None, 4))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    assert quantize(model, [x]).output_shape == (None, None, None, 2)


def test_sequential_model_walks_the_road(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 4)), conv(4, 3), layers.ReLU(), layers.Flatten()]
    )
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    export.to_tflite(model, tmp_path / "float.tflite")
    assert export.verify(model, tmp_path / "float.tflite", [x]).within_one == 1
    q = quantize(model, [x])
    assert not export.to_tflite(q, tmp_path / "q.tflite").float_operations


def test_works_under_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = image_model(lambda x: layers.Dense(3)(conv_bn_relu(x)))
        x = np.random.default_rng(0).normal(size=(8, 8, 8, 4))
        x = x.astype("float32")
        q = quantize(model, [x])
        q.compile("sgd", "mse")
        q.fit(x, np.ones((8, 8, 8, 3)), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(v.dtype == "float32" for v in q.variables)
    whole, small = tmp_path / "float.tflite", tmp_path / "q.tflite"
    export.to_tflite(model, whole)
    assert not export.to_tflite(q, small).float_operations
    # The model computes in 11 bits, the file in 24.
    expected = as_numpy(model(x)).astype("float32")
    np.testing.assert_allclose(
        export.Runner(whole).predict(x), expected, atol=0.02
    )
    assert export.verify(q, small, [x]).mean < 1


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-50, 0, width=32),
    st.floats(0.125, 50, width=32),
    st.integers(0, 99),
)
def test_fake_quantization_is_idempotent_on_256_values_with_zero(
    low, high, seed
):
    layer = FakeQuantize("fixed", minimum=low, maximum=high)
    x = np.random.default_rng(seed).uniform(2 * low - 1, 2 * high, 1000)
    once = as_numpy(layer(x.astype("float32")))
    step = (np.float32(high) - np.float32(low)) / 255
    assert len(np.unique(np.round(once / step))) <= 256
    np.testing.assert_allclose(as_numpy(layer(once)), once, atol=1e-4 * step)
    assert as_numpy(layer(np.zeros(1, "float32")))[0] == 0
    inside = (x > low + step) & (x < high - step)
    assert np.abs(once - x)[inside].max(initial=0) <= 0.51 * step


def test_kernel_ranges_are_symmetric_by_channel():
    layer = FakeQuantize("channel")
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)) * np.arange(
        1, 6
    )
    layer(kernel.astype("float32"), training=True)
    low, high = (as_numpy(v) for v in layer.variables)
    expected = np.abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_allclose(high, expected, rtol=1e-6)
    np.testing.assert_allclose(low, -expected, rtol=1e-6)


def test_equals_tfmots_own_model_on_layers_that_it_knows():
    """The same weights and ranges through TFMOT's model and through ours."""
    import tensorflow_model_optimization as tfmot  # the reference itself
    import tf_keras

    def body(k, x):
        x = k.layers.Conv2D(4, 3, padding="same", name="conv", use_bias=False)(
            x
        )
        x = k.layers.BatchNormalization(name="norm")(x)
        x = k.layers.ReLU(name="relu")(x)
        x = k.layers.Flatten(name="flatten")(x)
        return k.layers.Dense(3, name="dense")(x)

    shape = (4, 4, 2)
    inputs, tf_inputs = keras.Input(shape), tf_keras.Input(shape)
    model = keras.Model(inputs, body(keras, inputs))
    twin = tf_keras.Model(tf_inputs, body(tf_keras, tf_inputs))
    twin.set_weights(model.get_weights())
    reference = tfmot.quantization.keras.quantize_apply(
        tfmot.quantization.keras.quantize_annotate_model(twin)
    )
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype("float32")
    ours = quantize(model)  # ranges at TFMOT's start, [-6, 6]
    for _ in range(3):
        expected = reference(x, training=True).numpy()
        found = as_numpy(ours(x, training=True))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        as_numpy(ours(x)), reference(x, training=False).numpy(), atol=1e-5
    )


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (lambda x: layers.LayerNormalization(name="odd")(x), "odd"),
        (
            lambda x: layers.Conv2D(4, 3, activation="gelu", name="odd")(x),
            "odd",
        ),
        (
            lambda x: layers.BatchNormalization(name="odd")(layers.Dense(3)(x)),
            "odd",
        ),
        (
            lambda x: layers.UpSampling2D(
                2, interpolation="bilinear", name="odd"
            )(x),
            "odd",
        ),
        (lambda x: layers.ReLU(max_value=6, name="odd")(x), "odd"),
        (
            lambda x: layers.BatchNormalization(name="odd")(
                conv(3, 1, activation="relu")(x)
            ),
            "odd",
        ),
        (
            lambda x: layers.Dense(
                3, activation=layers.LeakyReLU(), name="odd"
            )(x),
            "odd",
        ),
        (lambda x: ops.exp(x), "exp"),
    ],
)
def test_layer_without_a_rule_is_named(body, name):
    with pytest.raises(ValueError, match=rf"Layer {name}.* cannot be quant"):
        quantize(image_model(body))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no batch"),
        ([np.ones((2, 5))], "must have the shape"),
        ([np.full((2, 3), np.nan)], "NaN"),
    ],
)
def test_wrong_calibration_data_are_refused(data, message):
    model = image_model(lambda x: layers.Dense(2)(x), (3,))
    with pytest.raises(ValueError, match=message):
        quantize(model, data)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "tensors"},
        {"kind": "fixed"},
        {"kind": "fixed", "minimum": 1.0, "maximum": 2.0},
    ],
)
def test_wrong_argument_is_named(arguments):
    with pytest.raises(ValueError, match=r"Argument.*Received"):
        FakeQuantize(**arguments)
