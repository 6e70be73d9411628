"""Fake quantization, its placement, and the integers it becomes."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import kbp
from kbp import export, graph, sparsity
from kbp.quantization import (
    PRODUCTS,
    FakeQuantize,
    QuantizeConfig,
    calibrate,
    fake_quantizers,
    freeze,
)
from kbp.quantization import quantize_aware as quantize
from kbp.quantization.lower import lower

conv = layers.Conv2D


def image_model(body, shape=(8, 8, 4)):
    inputs = keras.Input(shape, name="input")
    return keras.Model(inputs, body(inputs))


def conv_bn_relu(x):
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


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


def test_skipped_layers_stay_in_float_and_are_allowed(tmp_path):
    def body(x):
        x = layers.LayerNormalization(name="norm")(layers.Dense(16)(x))
        return layers.Dense(4, activation="elu", name="head")(x)

    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    model = image_model(body, (6,))
    q = quantize(model, [x], skip=[layers.LayerNormalization, "head"])
    q.save(tmp_path / "q.keras")
    q = keras.saving.load_model(tmp_path / "q.keras")
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    floats = {op.layer for op in audit.float_operations}
    assert {"norm", "head"} <= floats
    integers = [op.name for op in audit.operations if not op.is_float]
    assert sorted(integers) == ["FULLY_CONNECTED", "SLICE"]
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.999


@pytest.mark.parametrize(
    "make",
    [
        lambda name: layers.Dense(3, name=name),
        lambda name: layers.Conv2D(3, 3, activation="relu", name=name),
        lambda name: layers.DepthwiseConv2D(3, name=name),
        lambda name: layers.GlobalAveragePooling2D(name=name),
        lambda name: layers.Softmax(name=name),
        lambda name: layers.BatchNormalization(name=name),
    ],
)
def test_skipped_layer_is_computed_in_float(make, tmp_path):
    def body(x):
        return layers.Dense(3)(make("odd")(conv(4, 3)(x)))

    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(image_model(body), [x], skip=["odd"])
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    assert "odd" in {op.layer for op in audit.float_operations}
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.999


def nested_concatenate(x):
    a, b = (conv(n, 1, kernel_initializer="ones")(x) for n in (3, 2))
    return layers.Concatenate()([layers.Concatenate()([x / 9, a]), b])


def concatenate_of_maximum(x):
    a, b = (conv(4, 1, kernel_initializer="ones")(x) for _ in range(2))
    return layers.Concatenate()([layers.Maximum()([x / 9, a]), b])


def maximum_of_concatenate(x):
    a, b = (conv(n, 1, kernel_initializer="ones")(x) for n in (4, 8))
    joined = layers.Concatenate()([x / 9, a])
    return layers.Maximum()([layers.MaxPooling2D()(joined), b[:, :4, :4]])


@pytest.mark.parametrize(
    "body", [nested_concatenate, concatenate_of_maximum, maximum_of_concatenate]
)
def test_joins_of_joins_keep_what_is_beyond_a_part_of_them(body, tmp_path):
    x = np.random.default_rng(0).random((16, 8, 8, 4), "float32")
    model = image_model(body)
    q = quantize(model, [x])
    expected = as_numpy(model(x))
    assert np.abs(as_numpy(q(x)) - expected).max() < 0.03 * expected.max()
    assert not export.to_tflite(q, tmp_path / "q.tflite").float_operations
    assert export.verify(q, tmp_path / "q.tflite", [x]).maximum <= 1


def test_new_layers_take_names_that_are_free(tmp_path):
    def body(x):
        dense = layers.Dense(4, activation="relu", name="a")(x)
        x = layers.Dense(4, name="a_relu")(dense)
        x = layers.Activation("silu", name="a_quant")(x)
        x = layers.Add(name="add")([x, dense, layers.Dense(4)(x)])
        return layers.Add(name="add_part1")([x, dense])

    x = np.random.default_rng(0).random((16, 6), "float32")
    model = image_model(body, (6,))
    q = quantize(model, [x], skip=["add_part1"])
    expected = as_numpy(model(x))
    assert np.abs(as_numpy(q(x)) - expected).max() < 0.05 * expected.max()
    export.to_tflite(q, tmp_path / "q.tflite")


def test_shared_layers_are_lowered_once(tmp_path):
    norm = layers.BatchNormalization(gamma_initializer="ones")
    scale, silu = layers.Rescaling(2.0), layers.Activation("silu")

    def body(x):
        left, right = conv(3, 3)(scale(x)), conv(3, 3)(scale(scale(x)))
        return layers.Add()([silu(norm(left)), silu(norm(right))])

    model = image_model(body)
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    for gamma in ([1.0, 1.0, 1.0], [1.0, 0.0, 1.0]):
        norm.gamma.assign(gamma)
        q = quantize(model, [x])
        expected = as_numpy(model(x))
        gap = np.abs(as_numpy(q(x)) - expected).max()
        assert gap < 0.03 * np.ptp(expected)
        path = tmp_path / "q.tflite"
        assert not export.to_tflite(q, path).float_operations
        assert export.verify(q, path, [x]).within_one >= 0.999


def test_what_is_trained_and_how_is_carried_over():
    def body(x):
        x = layers.SeparableConv2D(
            3,
            3,
            depthwise_regularizer="l2",
            pointwise_regularizer="l1",
            activation="relu",
            name="separable",
        )(x)
        return layers.Dense(2, name="head", trainable=False)(x)

    model = image_model(body)
    model.get_layer("separable").bias.trainable = False
    q = quantize(model)
    assert len(q.losses) == len(model.losses) == 2
    np.testing.assert_allclose(sum(q.losses), sum(model.losses), rtol=1e-6)
    assert len(q.trainable_variables) == len(model.trainable_variables) == 2


@pytest.mark.parametrize(
    "kind", [layers.ReLU, layers.BatchNormalization, layers.Concatenate]
)
def test_what_stands_before_a_skipped_layer_is_rounded(kind, tmp_path):
    """What LiteRT would compute with it stays in integers."""

    def body(x):
        x = layers.BatchNormalization()(conv(4, 3, padding="same")(x))
        y = layers.ReLU()(x)
        return conv(3, 1)(layers.Concatenate()([conv(4, 1)(y), y]))

    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(image_model(body), [x], skip=[kind])
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    convolutions = [op for op in audit.operations if op.name == "CONV_2D"]
    assert len(convolutions) == 3
    assert not any(op.is_float for op in convolutions)
    # From float, the converter rounds once where the model rounds twice.
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.99


def test_products_of_an_attention_stay_in_float(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 6, 8)).astype("float32")
    for attend in (
        lambda x: kbp.layers.SelfAttention(2)(x),
        lambda x: layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x),
    ):
        model = image_model(attend, (6, 8))
        q = quantize(model, [x], skip=PRODUCTS)
        audit = export.to_tflite(q, tmp_path / "q.tflite")
        floats = [op.name for op in audit.float_operations]
        assert floats.count("BATCH_MATMUL") == 2
        assert floats.count("SOFTMAX") == 1
        # Nothing is rounded between the three: one way back.
        assert floats.count("QUANTIZE") == 1
        assert "FULLY_CONNECTED" not in floats
        check = export.verify(q, tmp_path / "q.tflite", [x])
        assert check.within_one >= 0.999


def test_float_layer_that_was_not_skipped_is_named(tmp_path):
    x = np.ones((4, 6), "float32")
    q = quantize(image_model(lambda x: layers.Dense(4)(x), (6,)), [x])
    odd = keras.Model(q.input, layers.Dense(2, name="odd")(q.output))
    with pytest.raises(ValueError, match="FULLY_CONNECTED at odd"):
        export.to_tflite(odd, tmp_path / "q.tflite")
    assert not list(tmp_path.iterdir())
    allowed = export.to_tflite(odd, tmp_path / "q.tflite", allow_float=["odd"])
    assert {op.layer for op in allowed.float_operations} >= {"odd"}


@keras.saving.register_keras_serializable(package="test")
class Bilinear(layers.Layer):
    """A layer of a user's own, with two kernels."""

    def build(self, shape):
        self.left = self.add_weight(shape=(shape[-1], 3))
        self.right = self.add_weight(shape=(3, 2))

    def call(self, inputs):
        return ops.relu(ops.matmul(ops.matmul(inputs, self.left), self.right))


class RoundRight(QuantizeConfig):
    def get_weights_and_quantizers(self, layer):
        return [
            (layer.left, FakeQuantize("channel")),
            (layer.right, FakeQuantize("kernel")),
        ]


def test_layer_of_ones_own_is_rounded_as_its_config_says(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    model = image_model(lambda x: Bilinear(name="own")(x), (6,))
    with pytest.raises(ValueError, match=r"own.*QuantizeConfig"):
        quantize(model)
    for key in ("own", Bilinear):
        q = quantize(model, [x], configs={key: RoundRight()})
        kinds = sorted(f.kind for f in fake_quantizers(q))
        assert kinds == ["channel", "input", "kernel", "tensor"]
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(q(x)) - expected).max()
    assert 0 < gap < 0.03 * np.ptp(expected)
    q.compile(keras.optimizers.SGD(0.01), "mse")
    q.fit(x, np.ones((8, 2)), verbose=0)
    q.save(tmp_path / "q.keras")
    loaded = keras.saving.load_model(tmp_path / "q.keras")
    np.testing.assert_array_equal(as_numpy(loaded(x)), as_numpy(q(x)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": ["dens"]}, r"`skip` names no layer.*'dens'.*'dense'"),
        ({"skip": "dense"}, r"`skip` must be a list"),
        ({"skip": [len]}, r"functions of keras\.ops.*len"),
        ({"skip": layers.Dense}, r"`skip` must be a list"),
        ({"skip": ["drop"]}, r"drop in `skip` keeps the range"),
        ({"configs": {"dense": QuantizeConfig}}, r"objects of QuantizeConfig"),
        (
            {"configs": {"dens": QuantizeConfig()}},
            r"`configs` names no layer.*'dens'.*'dense'",
        ),
    ],
)
def test_wrong_choice_of_layers_is_named(arguments, message):
    model = image_model(
        lambda x: layers.Dropout(0.5, name="drop")(
            layers.Dense(2, name="dense")(x)
        ),
        (3,),
    )
    with pytest.raises(ValueError, match=message):
        quantize(model, **arguments)


def test_frozen_ranges_and_statistics_stand_while_weights_train():
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(image_model(conv_bn_relu), [x])
    freeze(q)
    standing = [
        *(v for f in fake_quantizers(q) for v in f.variables),
        *(v for v in q.variables if "moving" in v.path),
    ]
    before = [as_numpy(v) for v in standing]
    weights = [as_numpy(v) for v in q.trainable_variables]
    q.compile(keras.optimizers.SGD(0.1), "mse")
    q.fit(3 * x, np.ones((16, 8, 8, 8)), epochs=2, verbose=0)
    for v, value in zip(standing, before, strict=True):
        np.testing.assert_array_equal(as_numpy(v), value)
    for v, value in zip(q.trainable_variables, weights, strict=True):
        assert not np.array_equal(as_numpy(v), value)


def test_dead_channels_and_tensors_are_exported_in_int8(tmp_path):
    """Ranges of zero alone would leave floats behind."""

    def body(x):
        x = conv(4, 3, name="conv", use_bias=False)(x)
        x = layers.BatchNormalization(name="norm")(x)
        x = layers.DepthwiseConv2D(3, name="depthwise")(layers.ReLU()(x))
        return layers.Dense(3)(x)

    model = image_model(body)
    kernel = as_numpy(model.get_layer("conv").kernel)
    kernel[..., 1] = 0
    model.get_layer("conv").kernel.assign(kernel)
    model.get_layer("norm").gamma.assign([1.0, 1.0, 0.0, 1.0])
    model.get_layer("norm").beta.assign([0.0, 0.0, 1.0, 0.0])
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 4)).astype("float32")
    q = quantize(model, [x])
    expected = as_numpy(model(x))
    assert np.abs(as_numpy(q(x)) - expected).max() < 0.03 * np.ptp(expected)
    path = tmp_path / "q.tflite"
    assert not export.to_tflite(q, path).float_operations
    assert export.verify(q, path, [x]).within_one >= 0.999
    model.get_layer("depthwise").set_weights(
        [np.zeros((3, 3, 4, 1)), np.zeros(4)]
    )
    q = quantize(model, [x])
    assert not export.to_tflite(q, path).float_operations
    assert export.verify(q, path, [x]).maximum == 0


def test_folded_normalization_keeps_the_function():
    """Wherever a normalization stands, lowering changes nothing in float."""

    def body(x):
        x = norm()(layers.Dense(5, use_bias=False)(x))
        x = norm()(layers.Conv2DTranspose(4, 3)(layers.ReLU()(x)))
        x = norm()(layers.DepthwiseConv2D(3)(x))
        x = layers.Conv1D(6, 3)(layers.Reshape((64, 4))(x))
        x = norm()(layers.ReLU()(norm()(x)))
        x = layers.MultiHeadAttention(2, 3)(x, x)
        return norm()(layers.Average()([x, layers.Activation("silu")(x), x]))

    def norm():
        uniform = keras.initializers.RandomUniform(0.5, 2.0)
        return layers.BatchNormalization(
            gamma_initializer=uniform,
            beta_initializer=uniform,
            moving_mean_initializer=uniform,
            moving_variance_initializer=uniform,
        )

    model = image_model(body)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("float32")
    lowered = lower(graph.flatten(model))
    kinds = {type(layer) for layer in lowered.layers}
    assert not kinds & {layers.MultiHeadAttention, layers.Average}
    expected = as_numpy(model(x))
    # Sums in another order, in float32.
    np.testing.assert_allclose(
        as_numpy(lowered(x)), expected, atol=2e-6 * np.abs(expected).max()
    )


def test_replicas_agree_on_the_ranges(tmp_path):
    """Two replicas train as one, and every copy of a range is the same."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    y = rng.normal(size=(32, 3)).astype("float32")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        q = quantize(image_model(lambda x: layers.Dense(3)(x), (6,)), [x])
        q.compile(keras.optimizers.SGD(0.1), "mse")
        q.fit(x, y, batch_size=16, epochs=2, verbose=0, shuffle=False)
    for quantizer in fake_quantizers(q):
        for variable in quantizer.variables:
            copies = [as_numpy(v) for v in variable.value.values]
            np.testing.assert_array_equal(*copies)
    assert not export.to_tflite(q, tmp_path / "q.tflite").float_operations
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one == 1


@pytest.mark.parametrize(
    "body",
    [
        lambda x: layers.LayerNormalization(name="odd")(x),
        lambda x: layers.Conv2D(4, 3, activation="elu", name="odd")(x),
        lambda x: layers.Activation(lambda y: y + 1, name="odd")(x),
        lambda x: layers.BatchNormalization(axis=1, name="odd")(x),
        lambda x: layers.UpSampling2D(2, interpolation="area", name="odd")(x),
        lambda x: layers.ReLU(max_value=5, name="odd")(x),
        lambda x: layers.ReLU(negative_slope=0.1, name="odd")(x),
        lambda x: layers.EinsumDense("abcd,bde->abce", (8, 8, 5), name="odd")(
            x
        ),
        lambda x: layers.MultiHeadAttention(2, 2, name="odd")(x, x),
        lambda x: kbp.layers.ChannelScale(name="odd")(x),
        lambda x: layers.LSTM(4, name="odd")(layers.Reshape((8, 32))(x)),
        lambda x: layers.Conv2DTranspose(3, 3, dilation_rate=2, name="odd")(x),
        lambda x: layers.EinsumDense("abcd,ef->abef", (8, 2, 3), name="odd")(x),
        lambda x: layers.Softmax(axis=(1, 2), name="odd")(x),
        lambda x: layers.BatchNormalization(axis=1, name="odd")(
            layers.Dense(5)(x)
        ),
        lambda x: layers.Embedding(5, 2, name="odd")(x[:, 0, 0]),
        lambda x: type("MyReLU", (layers.ReLU,), {})(name="odd")(x),
        lambda x: ops.image.resize(x, (4, 4), antialias=True),
    ],
)
def test_layer_without_a_rule_is_named(body):
    with pytest.raises(ValueError, match=r"^Layer (odd|resize).* cannot be qu"):
        quantize(image_model(body))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (lambda x: ops.sin(x), "sin"),
        (lambda x: 1.0 / (x + 1.0), "true_divide"),
        (lambda x: x + np.arange(4.0), "add"),
        (lambda x: layers.Dense(3)(x) / x[..., :3], "true_divide"),
        (lambda x: ops.maximum(x, np.array([0.0, 1, 2, 3])), "maximum"),
    ],
)
def test_operation_without_a_rule_is_named(body, name):
    with pytest.raises(ValueError, match=rf"^Layer {name}.* cannot be quant"):
        quantize(image_model(body))


def test_integers_and_quantized_models_are_refused():
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="image")
    model = keras.Model(inputs, layers.Rescaling(1 / 255, name="odd")(inputs))
    with pytest.raises(ValueError, match=r"^Layer odd .*dtype='float32'"):
        quantize(model)
    q = quantize(image_model(lambda x: layers.Dense(2)(x)))
    with pytest.raises(ValueError, match="quantization-aware already"):
        quantize(q)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no batch"),
        ([np.ones((2, 5))], "must have the shape"),
        ([np.ones((0, 3))], "empty batch"),
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
