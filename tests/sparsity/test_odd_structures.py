"""Channels pass through joins, shapes and sizes that are not the usual ones."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from graphs import randomized
from keras import layers, ops

from kbp import graph, sparsity


def conv(x, filters, size=1, **arguments):
    return layers.Conv2D(filters, size, padding="same", **arguments)(x)


def gate_of_channels_first(x):
    gate = layers.Dense(8, activation="sigmoid")(ops.mean(x, axis=(1, 2)))
    x = ops.transpose(x, (0, 3, 1, 2)) * layers.Reshape((8, 1, 1))(gate)
    return ops.transpose(x, (0, 2, 3, 1))


def gate_of_heads(x):
    gate = layers.Reshape((64, 4, 1))(conv(x, 4, activation="sigmoid"))
    x = layers.Reshape((64, 4, 2))(x) * gate
    return layers.Reshape((8, 8, 8))(x)


def gate_of_true_and_false(x):
    return x * ops.not_equal(ops.stop_gradient(conv(x, 8)), 0.0)


def shapes_of_two_sizes(x):
    shared = layers.Reshape((-1, 6))
    small = layers.MaxPooling2D()(x)
    parts = [shared(conv(y, 6, activation="relu")) for y in (x, small)]
    return layers.Reshape((8, 10, 6))(ops.concatenate(parts, axis=1))


def squeezed(x):
    x = layers.Dense(6)(ops.squeeze(ops.mean(x, axis=1, keepdims=True)))
    return ops.expand_dims(x, 1)


def function_without_a_name(x):
    return conv(x, 6, activation=lambda y: 2.0 * ops.relu(y))


CONSTANTS = {
    "matmul": lambda x: ops.matmul(x, np.ones((6, 5), "float32")),
    "matmul from the left": lambda x: ops.matmul(np.ones((7, 4), "float32"), x),
    "concatenate": lambda x: ops.concatenate([x, ops.ones((1, 4, 2))], -1),
    "stack": lambda x: ops.stack([x, ops.ones((1, 4, 6))], -1),
    "add": lambda x: x + np.ones(6, "float32"),
    "maximum": lambda x: ops.maximum(x, np.ones(6, "float32")),
    "multiply": lambda x: x * np.ones((4, 6), "float32"),
    "where": lambda x: ops.where(x > 0, x, np.ones(6, "float32")),
    "attention": lambda x: layers.MultiHeadAttention(2, 3)(
        x, ops.ones((1, 4, 6))
    ),
    "recurrent": lambda x: layers.GRU(6)(x, initial_state=ops.ones((1, 6))),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_operand_that_is_an_array_is_no_obstacle(name):
    inputs = keras.Input((4, 3), batch_size=1)
    x = CONSTANTS[name](layers.Dense(6, activation="relu")(inputs))
    x = layers.Dense(5, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    for gate in sparsity.masked_layers(masked):
        gate.kernel.assign(np.arange(gate.kernel.shape[0]) % 2)
        gate.transforms[0].threshold.assign(0.5)
    small = sparsity.shrink(masked)
    data = np.random.default_rng(0).normal(size=(1, 4, 3)).astype("float32")
    np.testing.assert_allclose(small(data), masked(data), atol=1e-6)
    assert small.count_params() < model.count_params()


@pytest.mark.parametrize("first", [True, False])
def test_cost_of_a_product_is_that_of_what_it_sums(first):
    inputs = keras.Input((8, 6))
    array = np.ones((7, 8) if first else (6, 5), "float32")
    operands = (array, inputs) if first else (inputs, array)
    model = keras.Model(inputs, ops.matmul(*operands))
    (node,) = graph.nodes(model)
    assert sparsity.multiply_adds(node) == (7 * 6 * 8 if first else 8 * 5 * 6)


def network(structure):
    inputs = keras.Input((8, 8, 3))
    x = structure(conv(inputs, 8, 3, activation="relu"))
    x = layers.GlobalAveragePooling2D()(conv(x, 6, activation="relu"))
    return keras.Model(inputs, layers.Dense(3)(x))


def sequences():
    inputs = keras.Input((None, 3))
    x = layers.Dense(8, activation="relu")(inputs)
    x = ops.concatenate([ops.mean(x, axis=1, keepdims=True), x], axis=1)
    x = x + layers.Dense(8)(x)
    return keras.Model(inputs, layers.Dense(3)(ops.max(x, axis=1)))


class Unscaled(layers.BatchNormalization):
    """A normalization whose constructor takes no `scale`."""

    def __init__(self, name=None):
        super().__init__(scale=False, name=name)

    def get_config(self):
        return {"name": self.name}


STRUCTURES = {
    made.__name__: (lambda made=made: network(made))
    for made in (
        gate_of_channels_first,
        gate_of_heads,
        gate_of_true_and_false,
        shapes_of_two_sizes,
        squeezed,
        function_without_a_name,
    )
} | {
    "sequences": sequences,
    "unscaled": lambda: network(lambda x: conv(Unscaled()(conv(x, 5)), 4)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", STRUCTURES)
def test_shrunk_model_gives_what_the_masked_one_does(name):
    model = randomized(STRUCTURES[name](), np.random.default_rng(0))
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    shape = (2, *(size or 5 for size in model.input_shape[1:]))
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    for step in (2, 100):  # every second channel stays, or one of each mask
        for layer in sparsity.masked_layers(masked):
            open_ = np.arange(layer.kernel.shape[0]) % step == 0
            layer.kernel.assign(np.where(open_, 1.0, 0.01))
            layer.transforms[0].threshold.assign(0.05)
        small = sparsity.shrink(masked)
        expected, found = as_numpy(masked(x)), as_numpy(small(x))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, atol=2e-5)
        assert sparsity.channel_count(small) < sparsity.channel_count(model)
