"""Pruned channels leave the graph, and the outputs stay."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from graphs import random_graph, randomized

import kbp
from kbp import sparsity

layers = keras.layers


def masked(model, rng, share=0.5, **arguments):
    """Prune random channels of a model."""
    model = sparsity.apply_dtm(model, granularity="channel", **arguments)
    for layer in sparsity.masked_layers(model):
        dead = rng.random(layer.kernel.shape) < share
        dead[rng.integers(dead.size)] = False
        kernel = as_numpy(layer.kernel)
        kernel = np.where(dead, 0.01, np.abs(kernel) + 0.1)
        layer.kernel.assign(kernel)
        layer.transforms[0].threshold.assign(0.05)
    return model


def outputs(model, rng_seed=3):
    rng = np.random.default_rng(rng_seed)
    shape = (2, *(size or 32 for size in model.input_shape[1:]))
    return as_numpy(model(rng.normal(size=shape).astype("float32")))


def assert_equal(model, small, atol=1e-5):
    expected, found = outputs(model), outputs(small)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        found / scale, expected / scale, rtol=0, atol=atol
    )
    assert not any(
        isinstance(layer, kbp.layers.TransformedLayer | kbp.layers.ChannelScale)
        for layer in small.layers
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "start",
    [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (10, 20, 30, 40))],
)
def test_fifty_random_graphs_keep_their_outputs(start):
    for seed in range(start, start + 10):
        rng = np.random.default_rng(seed)
        model = masked(random_graph(seed), rng, protect_ends=False)
        small = sparsity.shrink(model)
        assert_equal(model, small)
        assert small.count_params() < model.count_params()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        pytest.param("MobileNetV2", 0.5, marks=pytest.mark.slow),
        pytest.param("ResNet50", 0.4, marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", 0.4, marks=pytest.mark.slow),
    ],
)
def test_networks_of_keras_applications(name, least):
    rng = np.random.default_rng(0)
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(64, 64, 3),
        classes=7,
        classifier_activation=None,
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(rng.uniform(0.5, 1.0, weight.shape))
    pruned = masked(model, rng)
    small = sparsity.shrink(pruned)
    assert_equal(pruned, small)
    assert small.count_params() < (1 - least) * model.count_params()


@pytest.mark.long
@pytest.mark.parametrize(
    "model",
    [
        lambda: kbp.models.PyramidBPNet((8, 8, 1), 3, num_scales=3, width=8),
        lambda: kbp.models.PyramidBPNet(
            (8, 8, 1), 3, head="segmentation", size="small", width=8
        ),
        lambda: kbp.models.BPTransformer((6, 5), 3, width=16, num_layers=3),
    ],
)
def test_models_of_kbp(model, tmp_path):
    rng = np.random.default_rng(0)
    pruned = masked(randomized(model(), rng), rng)
    small = sparsity.shrink(pruned)
    assert_equal(pruned, small)
    assert small.count_params() < 0.7 * model().count_params()
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(small))


def test_attention_loses_whole_heads():
    inputs = keras.Input((5, 12))
    x = kbp.layers.SelfAttention(4, name="attention")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(x))
    pruned = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    (gate,) = sparsity.masked_layers(pruned)
    assert gate.kernel.shape == (4,)
    gate.kernel.assign([0.0, 1.0, 0.0, 2.0])
    gate.transforms[0].threshold.assign(0.5)
    small = sparsity.shrink(pruned)
    assert_equal(pruned, small)
    for part in ("query", "key", "value"):
        assert small.get_layer(f"attention_{part}").units == 6
    assert small.get_layer("attention_output").kernel.shape == (6, 12)


def test_zeros_count_wherever_they_come_from():
    inputs = keras.Input((4,))
    hidden = layers.Dense(6, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="last")(hidden))
    first, bias = (as_numpy(w) for w in model.get_layer("hidden").weights)
    last, last_bias = (as_numpy(w) for w in model.get_layer("last").weights)
    first[:, [0, 2]] = 0  # gives nothing
    last[[2, 5]] = 0  # nobody listens
    model.get_layer("hidden").set_weights([first, bias])
    model.get_layer("last").set_weights([last, last_bias])
    small = sparsity.shrink(model)
    assert_equal(model, small)
    assert small.get_layer("hidden").units == 3


def test_bias_keeps_a_channel():
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    kernel = as_numpy(model.get_layer("hidden").kernel)
    kernel[:, :2] = 0
    bias = np.array([0.0, 1.0, 0.0])
    model.get_layer("hidden").set_weights([kernel, bias])
    small = sparsity.shrink(model)
    assert_equal(model, small)
    assert small.get_layer("hidden").units == 2


def test_one_channel_stays():
    inputs = keras.Input((4,))
    hidden = layers.Dense(6, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    model.get_layer("hidden").set_weights([np.zeros((4, 6)), np.zeros(6)])
    small = sparsity.shrink(model)
    assert small.get_layer("hidden").units == 1
    np.testing.assert_array_equal(outputs(small), outputs(model))


@pytest.mark.parametrize(("multiple", "units"), [(1, 5), (4, 8), (8, 8)])
def test_a_multiple_of_channels_stays(multiple, units):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(20, 3, name="conv", use_bias=False)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    kernel = as_numpy(model.get_layer("conv").kernel)
    kernel[..., 5:] = 0
    model.get_layer("conv").set_weights([kernel])
    small = sparsity.shrink(model, multiple_of=multiple)
    assert small.get_layer("conv").filters == units
    assert_equal(model, small)


def test_shared_layer_is_cut_once():
    inputs = keras.Input((4,))
    x = layers.Dense(6, name="first")(inputs)
    shared = layers.Dense(6, name="shared")
    model = keras.Model(inputs, layers.Dense(2)(shared(shared(x))))
    kernel, bias = np.ones((6, 6)), np.zeros(6)
    kernel[:, 1] = 0
    model.get_layer("shared").set_weights([kernel, bias])
    first = as_numpy(model.get_layer("first").kernel)
    first[:, 1] = 0
    model.get_layer("first").set_weights([first, bias])
    small = sparsity.shrink(model)
    assert_equal(model, small)
    assert small.get_layer("shared").kernel.shape == (5, 5)


def test_channels_of_variable_sizes():
    inputs = keras.Input((None, None, 2))
    x = layers.Conv2D(8, 3, name="conv", padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    pruned = masked(randomized(model, rng), rng, protect_ends=False)
    small = sparsity.shrink(pruned)
    assert_equal(pruned, small)
    assert small.get_layer("conv").filters < 8


def test_normalization_over_channels_keeps_them():
    inputs = keras.Input((4,))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.Dense(6, name="second")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    for name in ("first", "second"):
        layer = model.get_layer(name)
        kernel = as_numpy(layer.kernel)
        kernel[:, 0] = 0
        layer.set_weights([kernel, as_numpy(layer.bias)])
    small = sparsity.shrink(model)
    assert_equal(model, small)
    units = [small.get_layer(name).units for name in ("first", "second")]
    assert units == [6, 5]


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(6, 3, groups=3, name="odd"),
        layers.Dense(6, activation="softmax", name="odd"),
    ],
)
def test_what_is_not_cut_stays_right(layer):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="before", use_bias=False)(inputs)
    x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    kernel = as_numpy(model.get_layer("before").kernel)
    kernel[..., 2] = 0
    model.get_layer("before").set_weights([kernel])
    small = sparsity.shrink(model)
    assert_equal(model, small)


def zeroed(model, name, channels):
    """Let channels of a layer give nothing."""
    weights = [as_numpy(w).copy() for w in model.get_layer(name).weights]
    for weight in weights:
        weight[..., channels] = 0
    model.get_layer(name).set_weights(weights)
    return model


def test_softmax_of_the_last_layer_is_no_obstacle():
    inputs = keras.Input((4,))
    hidden = layers.Dense(6, activation="relu", name="hidden")(inputs)
    outputs = layers.Dense(3, activation="softmax")(hidden)
    model = zeroed(keras.Model(inputs, outputs), "hidden", [0, 2])
    small = sparsity.shrink(model)
    assert_equal(model, small)
    assert small.get_layer("hidden").units == 4


def test_nested_models_are_cut_across_their_borders():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, name="outer"),
            keras.Sequential([layers.Dense(6, activation="relu")]),
            layers.Dense(2),
        ]
    )
    small = sparsity.shrink(zeroed(model, "outer", [1, 3]))
    assert_equal(model, small)
    assert small.get_layer("outer").units == 4


def test_equal_names_in_nested_models_are_named():
    inputs = keras.Input((4,))
    x = inputs
    for name in ("a", "b"):
        x = keras.Sequential([layers.Dense(4, name="twin")], name=name)(x)
    with pytest.raises(ValueError, match=r"nested models have equal names"):
        sparsity.shrink(keras.Model(inputs, x))


def test_masks_of_time_steps_are_no_channels():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, mask_zero=True)(inputs)
    x = layers.Dense(6, name="hidden")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = zeroed(keras.Model(inputs, layers.Dense(2)(x)), "hidden", [5])
    small = sparsity.shrink(model)
    x = np.array([[1, 2, 3, 0, 0]])
    np.testing.assert_allclose(
        as_numpy(small(x)), as_numpy(model(x)), atol=1e-6
    )
    assert small.get_layer("hidden").units == 5


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: keras.ops.clip(x, np.zeros(6), np.ones(6)),
        lambda x: keras.ops.concatenate([x, x], axis=0),
        lambda x: keras.ops.transpose(x, (1, 0)),
    ],
)
def test_operation_without_a_rule_is_refused_by_name(operation):
    inputs = keras.Input((4,), batch_size=6)
    x = operation(layers.Dense(6, name="hidden")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="cannot be shrunk: no rule"):
        sparsity.shrink(zeroed(model, "hidden", [1]))


def test_unknown_layer_is_refused_by_name():
    inputs = keras.Input((4,))
    hidden = layers.Dense(6, name="hidden", use_bias=False)(inputs)
    hidden = layers.Lambda(lambda x: x + 1, name="mystery")(hidden)
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    assert_equal(model, sparsity.shrink(model))  # nothing is pruned there
    kernel = as_numpy(model.get_layer("hidden").kernel)
    kernel[:, 3] = 0
    model.get_layer("hidden").set_weights([kernel])
    with pytest.raises(ValueError, match=r"Layer mystery cannot be shrunk"):
        sparsity.shrink(model)


def test_quantized_model_is_refused():
    model = kbp.models.PyramidBPNet((8, 8, 1), 3, width=8)
    quantized = kbp.quantization.quantize_aware(model)
    with pytest.raises(ValueError, match=r"is quantization-aware, and keeps"):
        sparsity.shrink(quantized)


def test_masked_channels_are_refused_by_quantization():
    model = kbp.models.PyramidBPNet((8, 8, 1), 3, width=8)
    pruned = sparsity.apply_dtm(model, granularity="channel")
    with pytest.raises(ValueError, match=r"kbp\.sparsity\.shrink first"):
        kbp.quantization.quantize_aware(pruned)


def test_wrong_argument_is_named():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="`multiple_of` must be a whole"):
        sparsity.shrink(model, multiple_of=0)
    with pytest.raises(ValueError, match="is not built"):
        sparsity.shrink(keras.Sequential([layers.Dense(2)]))
