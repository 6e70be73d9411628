"""Cuts of models into blocks, of which the insides are computed twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbp.graph import blocks, in_blocks, nodes


def net(seed):
    """A network of random joins, with layers of all kinds of state."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    found = [layers.Conv2D(4, 3, padding="same")(inputs)]
    for _ in range(8):
        x = found[rng.integers(len(found))]
        kind = rng.integers(5)
        if kind == 0:
            x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        elif kind == 1:
            x = layers.BatchNormalization()(x)
        elif kind == 2:
            x = layers.Dropout(0.4, seed=int(rng.integers(99)))(x)
        elif kind == 3:
            x = layers.Add()([x, found[-1]])
        else:
            x = keras.ops.tanh(x)
        found.append(x)
    ends = [found[-1], layers.Concatenate()(found[-3:])]
    pooled = [layers.GlobalAveragePooling2D()(x) for x in ends]
    return keras.Model(
        inputs, {"a": layers.Dense(2)(pooled[0]), "b": pooled[1]}
    )


@pytest.mark.parametrize("seed", range(6))
def test_blocks_hold_each_use_once_and_what_goes_between_them(seed):
    found = nodes(net(seed))
    parts = blocks(found)
    assert [id(x) for part in parts for x in part.nodes] == [*map(id, found)]
    made = {id(x) for x in found[0].inputs}
    for part in parts:
        assert {id(x) for x in part.inputs} <= made
        made |= {id(x) for x in part.outputs}
    assert {id(x) for node in found for x in node.results} <= made


@pytest.mark.long
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_random_networks_have_the_same_gradients_and_states(seed, graph):
    x = np.random.default_rng(seed).normal(size=(4, 8, 8, 3)).astype("float32")
    results = []
    for twice in (False, True):
        model = net(seed)
        function = in_blocks(model) if twice else model

        def step(model=model, function=function):
            with tf.GradientTape() as tape:
                outputs = function(x, training=True)
                loss = sum(tf.reduce_sum(y**2) for y in outputs.values())
            weights = [v.value for v in model.trainable_variables]
            return outputs, tape.gradient(loss, weights)

        step = tf.function(step) if graph else step
        for _ in range(2):
            found = step()
        states = [v.numpy() for v in model.non_trainable_variables]
        results.append([*tf.nest.flatten(found), *states])
    for plain, twice in zip(*results, strict=True):
        np.testing.assert_allclose(plain, twice, rtol=1e-5, atol=1e-5)


def test_a_layer_is_used_again_in_another_block():
    keras.utils.set_random_seed(0)
    shared = keras.layers.Dense(8, activation="tanh")
    inputs = keras.Input((8,))
    x = inputs
    for _ in range(9):
        x = shared(x)
    model = keras.Model(inputs, x)
    values = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    twin = in_blocks(model)
    assert len(twin.layers) > 3
    np.testing.assert_array_equal(model(values), twin(values))
