"""Layers are copied with what they have learned and how they are set."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

import kbp
from kbp import graph


def masked_model():
    """A masked layer, one with seeds, one that is frozen."""
    inputs = keras.Input((4,))
    mask = kbp.layers.DTM(threshold=0.2)
    dense = layers.Dense(5, activation="tanh", name="masked")
    x = kbp.layers.TransformedLayer(dense, [mask])(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, seed=7, name="dropout")(x)
    frozen = layers.Dense(2, name="frozen", trainable=False)
    return keras.Model(inputs, frozen(x))


def randomize(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    return model


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(8, 4)).astype("float32")


def test_clone_has_the_configuration_and_weights_of_its_own():
    layer = layers.Dense(3, activation="relu", name="mine")
    layer.build((None, 2))
    clone = graph.clone_layer(layer)
    assert clone.get_config() == layer.get_config()
    assert not clone.built
    changed = graph.clone_layer(layer, units=5)
    assert (changed.units, changed.name) == (5, "mine")


def test_changes_of_a_transformed_layer_are_those_of_the_layer_inside():
    masked = kbp.layers.TransformedLayer(
        layers.Dense(3, name="mine"), [kbp.layers.DTM(temperature=3.0)]
    )
    clone = graph.clone_layer(masked, units=5)
    assert clone.name == "mine"
    assert graph.unwrapped(clone).units == 5
    (mask,) = graph.transforms(clone)
    assert mask is not masked.transforms[0]
    assert mask.get_config() == masked.transforms[0].get_config()


def test_what_cannot_be_cloned_is_shared():
    function = layers.Lambda(lambda x: x + 1)
    adapted = layers.Normalization()
    adapted.adapt(np.ones((3, 2)))
    operation = (keras.Input((2,)) + 1)._keras_history.operation
    for same in (function, adapted, operation):
        assert graph.clone_layer(same) is same


def test_clone_has_the_precision_of_its_layer():
    layer = layers.Dense(3, dtype="mixed_float16")
    assert graph.clone_layer(layer).dtype_policy == layer.dtype_policy


def test_replaced_layers_take_weights_flags_and_seeds_over(images):
    model = randomize(masked_model())
    new = graph.replace_layers(model, graph.clone_layer)
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
    np.testing.assert_array_equal(
        as_numpy(new(images)), as_numpy(model(images))
    )
    assert [len(x.trainable_variables) for x in new.layers] == [
        len(x.trainable_variables) for x in model.layers
    ]
    assert not new.get_layer("frozen").trainable
    # Seeds go on from the state that they were in.
    for _ in range(2):
        model.get_layer("dropout")(np.ones((2, 5)), training=True)
    again = graph.replace_layers(model, graph.clone_layer)
    dropped = [
        as_numpy(x.get_layer("dropout")(np.ones((2, 5)), training=True))
        for x in (model, again)
    ]
    np.testing.assert_array_equal(*dropped)


@pytest.mark.parametrize("wraps", [True, False])
def test_layer_and_replacement_may_differ_by_their_transforms(wraps, images):
    model = randomize(masked_model())
    if wraps:
        model = graph.replace_layers(model, lambda x: _plain(x))

    def replace(layer):
        new = _plain(layer)
        if wraps and layer.name == "masked":
            return kbp.layers.TransformedLayer(new, [kbp.layers.FixedMask()])
        return new

    new = graph.replace_layers(model, replace)
    for name in ("masked", "frozen"):
        np.testing.assert_array_equal(
            as_numpy(graph.unwrapped(new.get_layer(name)).kernel),
            as_numpy(graph.unwrapped(model.get_layer(name)).kernel),
        )
    assert len(graph.transforms(new.get_layer("masked"))) == wraps


def _plain(layer):
    return graph.clone_layer(graph.unwrapped(layer))


def test_transforms_that_both_begin_with_are_copied():
    def layer(*transforms):
        new = kbp.layers.TransformedLayer(layers.Dense(3), transforms)
        new.build((None, 2))
        return new

    old = layer(kbp.layers.FixedMask(), kbp.layers.DTM())
    old.transforms[0].mask.assign(np.eye(2, 3))
    new = layer(kbp.layers.FixedMask(), kbp.layers.FixedMask())
    graph.copy_weights(old, new)
    np.testing.assert_array_equal(
        as_numpy(new.transforms[0].mask), np.eye(2, 3)
    )
    np.testing.assert_array_equal(as_numpy(new.transforms[1].mask), 1)


def test_weights_of_another_number_are_an_error():
    old, new = layers.Dense(3), layers.Dense(3, use_bias=False)
    for layer in (old, new):
        layer.build((None, 2))
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        graph.copy_weights(old, new)


def test_transforms_of_nested_wrappers_are_listed_inside_first():
    inner = kbp.layers.TransformedLayer(
        layers.Dense(3), [kbp.layers.FixedMask()]
    )
    outer = kbp.layers.TransformedLayer(
        inner, [kbp.layers.DTM()], kernel="bias"
    )
    kinds = [type(t).__name__ for t in graph.transforms(outer)]
    assert kinds == ["FixedMask", "DTM"]
    assert type(graph.unwrapped(outer)) is layers.Dense
    assert graph.transforms(layers.Dense(3)) == []


def test_float32_copy_has_the_same_weights_and_computes_in_float32(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = randomize(masked_model())
    finally:
        keras.config.set_dtype_policy("float32")
    wide = graph.in_float32(model)
    assert model.output.dtype == "float16"
    for layer in wide.layers[1:]:
        assert graph.unwrapped(layer).compute_dtype == "float32", layer.name
    expected = as_numpy(model(images)).astype("float32")
    found = as_numpy(wide(images))
    assert found.dtype == "float32"
    # float16 has 11 bits, and four layers lose a few more.
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-2)


# Layers with layers inside, from `(5, 8)`.
INSIDE = {
    "attention": lambda x: layers.MultiHeadAttention(2, 4)(x, x),
    "bidirectional": lambda x: layers.Bidirectional(layers.GRU(4))(x),
    "function": lambda x: layers.Dense(8, activation=layers.PReLU())(x),
    "lstm": lambda x: layers.LSTM(4)(x),
    "stacked": lambda x: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)])(x),
    "steps": lambda x: layers.TimeDistributed(layers.Dense(4))(x),
    "masked": lambda x: kbp.layers.DTMDense(4)(x),
    "truncated": lambda x: kbp.layers.TruncatedRNN(layers.LSTM(4), 2)(x),
    "wrapped": lambda x: layers.SpectralNormalization(layers.Dense(4))(x),
}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", INSIDE)
def test_float32_copy_has_no_half_inside(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((5, 8))
        model = keras.Model(inputs, layers.Dense(3)(INSIDE[name](inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    wide = graph.in_float32(graph.flatten(model))
    half = {
        layer.name
        for layer in wide._flatten_layers(include_self=False)
        if layer.compute_dtype != "float32"
    }
    assert not half
    x = np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")
    found = as_numpy(wide(x))
    assert found.dtype == "float32"
    rounded = keras.ops.convert_to_numpy(keras.ops.cast(model(x), "float32"))
    np.testing.assert_allclose(found, rounded, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(3), (4,)),
        (layers.Conv2D(3, 2), (5, 5, 4)),
        (layers.Conv2DTranspose(3, 2), (5, 5, 4)),
        (layers.DepthwiseConv2D(2, depth_multiplier=3), (5, 5, 4)),
        (layers.DepthwiseConv1D(2), (5, 4)),
        (layers.SeparableConv1D(3, 2), (5, 4)),
        (layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), (5, 4)),
        (layers.BatchNormalization(), (5, 4)),
        (layers.Dense(3, use_bias=False), (4,)),
    ],
)
def test_outputs_are_scaled_channel_by_channel(layer, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype("float32")
    layer.build(x.shape)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.0, weight.shape))
    before = as_numpy(layer(x))
    factors = rng.uniform(0.5, 2.0, before.shape[-1]).astype("float32")
    graph.scale_outputs(layer, factors)
    np.testing.assert_allclose(
        as_numpy(layer(x)), before * factors, rtol=1e-5, atol=1e-6
    )


def test_layer_without_a_kernel_is_not_scaled():
    with pytest.raises(ValueError, match=r"Layer relu has no traits of a ker"):
        graph.scale_outputs(layers.ReLU(name="relu"), np.ones(3))


COPIED = {
    "dense": (lambda: layers.Dense(3), (4,)),
    "einsum": (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"), (4,)),
    "convolution": (lambda: layers.Conv2D(3, 2), (4, 4, 2)),
    "transposed": (lambda: layers.Conv1DTranspose(3, 2), (4, 2)),
    "by depth": (lambda: layers.DepthwiseConv2D(2), (4, 4, 2)),
    "separable": (lambda: layers.SeparableConv2D(3, 2), (4, 4, 2)),
    "embedding": (lambda: layers.Embedding(5, 3), (4,)),
}


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_has_all_weights(name):
    make, shape = COPIED[name]
    layer = make()
    layer.build((None, *shape))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    changes = {"activation": "relu"} if hasattr(layer, "activation") else {}
    copy = graph.copy_layer(layer, **changes)
    for old, new in zip(layer.weights, copy.weights, strict=True):
        assert old is not new
        np.testing.assert_array_equal(as_numpy(new), as_numpy(old))


def test_a_copy_that_would_lack_weights_is_refused():
    layer = layers.Dense(3, name="mine")
    layer.build((None, 4))
    with pytest.raises(ValueError, match=r"Layer mine has weights .*kernel"):
        graph.copy_layer(layer, units=5)
    assert graph.copy_layer(layer, use_bias=False).bias is None
