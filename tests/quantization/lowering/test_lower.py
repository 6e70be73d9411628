"""Models in terms of the layers that have 8-bit rules."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, image_model
from keras import layers

from kbp import export, graph
from kbp.quantization import quantize_aware as quantize
from kbp.quantization.lowering.lower import lower

conv = layers.Conv2D


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


@pytest.mark.parametrize(
    "options",
    [
        {"use_causal_mask": False},
        {"attention_mask": None, "return_attention_scores": False},
        {"use_causal_mask": False, "training": False},
    ],
)
def test_options_that_say_no_are_as_none(options):
    def body(x):
        return layers.MultiHeadAttention(2, 4)(x, x, **options)

    x = np.random.default_rng(0).normal(size=(16, 5, 8)).astype("float32")
    model = image_model(body, (5, 8))
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(quantize(model, [x])(x)) - expected).max()
    assert gap < 0.05 * np.ptp(expected)


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


@pytest.mark.parametrize("name", ["hard_silu", "silu"])
def test_activations_with_a_gate_are_products(name, tmp_path):
    """LiteRT's integer HARD_SWISH is many times slower than its parts."""
    model = image_model(layers.Activation(name))
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(model, [4 * x])
    np.testing.assert_allclose(as_numpy(q(4 * x)), model(4 * x), atol=0.2)
    names = [o.name for o in export.to_tflite(q, tmp_path / "q").operations]
    assert names[-1] == "MUL"
    assert "HARD_SWISH" not in names


@pytest.mark.long
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
