"""Fake quantization, its placement, and the integers it becomes."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, image_model
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import kbp
from kbp import export, sparsity
from kbp.quantization import FakeQuantize, calibrate, fake_quantizers, freeze
from kbp.quantization import quantize_aware as quantize

conv = layers.Conv2D


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


def ranges_of(model):
    return [
        [float(as_numpy(v)) for v in quantizer.variables]
        for quantizer in fake_quantizers(model)
        if quantizer.kind in ("input", "tensor")
    ]


def test_calibration_sets_ranges_to_those_of_all_batches():
    model = image_model(
        lambda x: layers.Dense(3, kernel_initializer="identity")(x), (3,)
    )
    batches = [np.full((2, 3), v, "float32") for v in (1.0, 3.0, -2.0)]
    q = quantize(model, batches)
    assert set(map(tuple, ranges_of(q))) == {(-2, 3)}
    calibrate(q, batches[:1])
    assert set(map(tuple, ranges_of(q))) == {(0, 1)}


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 7, 32, 100])
def test_ranges_do_not_depend_on_how_the_data_are_cut(size):
    model = image_model(
        lambda x: layers.Dense(2)(layers.Dense(4, "relu")(x)), (3,)
    )
    x = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
    whole = ranges_of(quantize(model, x))
    cut = [x[i : i + size] for i in range(0, 100, size)]
    forms = [cut, (part for part in cut)]
    if size == 1:
        forms.append({"input": row} for row in x)
    for data in forms:
        found = ranges_of(quantize(model, data))
        np.testing.assert_allclose(found, whole, rtol=1e-5)
    few = ranges_of(quantize(model, cut, calibration_examples=10))
    expected = ranges_of(quantize(model, x[:10]))
    np.testing.assert_allclose(few, expected, rtol=1e-5)
    assert not np.allclose(few, whole)


@pytest.mark.long
@pytest.mark.parametrize("moved", [False, True])
def test_training_never_cuts_off_what_a_model_answers(moved):
    x = np.random.default_rng(0).normal(size=(512, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    inputs = keras.Input((3,))
    outputs = layers.Dense(1, kernel_initializer="ones")(inputs)
    if moved:
        outputs = layers.Reshape((1,))(layers.Flatten()(outputs))
    q = quantize(keras.Model(inputs, outputs), x, calibration_examples=512)
    q.compile(keras.optimizers.SGD(1e-3), "mse", steps_per_execution=256)
    q.fit(x, y, batch_size=2, epochs=20, verbose=0)  # 5,000 small batches
    gap = np.abs(q.predict(x, verbose=0) - y).max()
    assert gap < 0.1  # two of the 256 steps, one of the input and the output


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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
    q = quantize(model, x)
    assert {f.name for f in fake_quantizers(q)} >= {"a_quant", "b_quant"}
    path = tmp_path / "q.tflite"
    assert not export.to_tflite(q, path).float_operations
    check = export.verify(q, path, dict(zip("ab", x, strict=True)))
    assert (check.outputs, check.maximum) == (24, 0)


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


@pytest.mark.long
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


def test_replicas_agree_on_the_ranges(tmp_path):
    """Two replicas train as one, and every copy of a range is the same."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    y = rng.normal(size=(32, 3)).astype("float32")
    # Two strategies of one process share the keys of their collectives.
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )
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


@pytest.mark.long
@pytest.mark.parametrize("between", [layers.Identity, layers.ZeroPadding2D])
def test_maps_may_part_for_an_average_behind_a_pooling(between, tmp_path):
    """LiteRT's converter left the other branches in float."""

    def parting(x):
        x = layers.MaxPooling2D(3, strides=1)(conv_bn_relu(x))
        average = layers.AveragePooling2D(3, strides=1, padding="same")(x)
        others = [conv_bn_relu(y) for y in (average, x, between()(x))]
        return layers.Dense(2)(
            layers.Add()([layers.GlobalAveragePooling2D()(y) for y in others])
        )

    model = image_model(parting, (8, 8, 3))
    x = np.random.default_rng(0).random((8, 8, 8, 3), "float32")
    q = quantize(model, [x])
    audit = export.to_tflite(q, tmp_path / "a.tflite")
    assert not audit.float_operations
    assert export.verify(q, tmp_path / "a.tflite", [x]).maximum <= 1
