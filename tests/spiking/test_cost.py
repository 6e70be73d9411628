"""What a spiking network costs is counted as it is defined."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from linear_layers import JOINS, KERNELS, PLAIN, randomize

from kbp import graph, spiking

UNITS = 3
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
# Layers behind which values are no sums of spikes.
OTHERS = (
    *(layers.BatchNormalization, layers.Rescaling, layers.Normalization),
    layers.UpSampling2D,  # bilinear here
)


def spiking_model(body, shape, steps=5):
    """Return a spiking network and inputs of it."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.ReLU(name="last")(body(inputs)))
    randomize(model)
    x = np.random.default_rng(1).uniform(-1, 1, (3, *shape)).astype("float32")
    return model, spiking.to_spiking(model, x, timesteps=steps), x


def values_of(model, name, x):
    """Return what a layer gives, `(examples * time, ...)`."""
    found = np.array(keras.Model(model.input, model.get_layer(name).output)(x))
    return found.reshape(-1, *found.shape[2:])


def meetings(layer, shape, place=0, count=1):
    """Return how many values of a linear layer each of its inputs changes."""
    size = int(np.prod(shape))
    each = np.eye(size, dtype="float32").reshape(size, *shape)
    given = [np.zeros_like(each)] * count
    none = layer(given if count > 1 else given[0])
    given[place] = each
    found = layer(given if count > 1 else each)
    return (np.array(found - none).reshape(size, -1) != 0).sum(axis=1)


def costs_of(model, x):
    return {layer.name: layer for layer in spiking.cost(model, x).layers}


@pytest.mark.long
@pytest.mark.parametrize("kind", [*PLAIN, *JOINS])
def test_spikes_are_counted_through_layers_without_a_kernel(kind):
    make, shape = (PLAIN | JOINS)[kind]
    middle = make()
    names = ["first"]

    def body(inputs):
        x = layers.ReLU(name="first")(inputs)
        if kind in JOINS:
            names.append("second")
            y = layers.Rescaling(-1.0, 0.3)(inputs)
            x = [x, layers.ReLU(name="second")(y)]
        return layers.Dense(UNITS, name="behind")(middle(x))

    _, converted, x = spiking_model(body, shape)
    found = costs_of(converted, x)["behind"]
    if kind in OTHERS:
        values = values_of(converted, middle.name, x)
        expected = np.count_nonzero(values) * UNITS / len(x)
        assert found.multiply_adds == pytest.approx(expected)
        assert found.synaptic_operations == 0
        return
    expected = 0
    for place, name in enumerate(names):
        fired = values_of(converted, name, x) != 0
        assert fired.any()
        each = meetings(middle, shape, place, len(names))
        expected += (fired.reshape(len(fired), -1) @ each).sum()
    assert found.synaptic_operations == pytest.approx(expected * UNITS / len(x))
    assert found.multiply_adds == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", [*KERNELS])
def test_spikes_meet_the_weights_of_every_layer(kind):
    make, shape = KERNELS[kind]
    own = graph.clone_layer(make(), name="own")
    _, converted, x = spiking_model(
        lambda inputs: own(layers.ReLU(name="first")(inputs)), shape
    )
    costs = costs_of(converted, x)
    name, layer = "own", own
    if kind in SEPARABLE:
        name = "own_depthwise"
        layer = converted.get_layer(name).layer
        values = values_of(converted, name, x)
        pointwise = np.count_nonzero(values) * own.filters / len(x)
        assert costs["own"].multiply_adds == pytest.approx(pointwise)
        assert costs["own"].synaptic_operations == 0
    fired = values_of(converted, "first", x) != 0
    each = meetings(layer, shape)
    expected = (fired.reshape(len(fired), -1) @ each).sum() / len(x)
    assert costs[name].synaptic_operations == pytest.approx(expected)
    assert costs[name].multiply_adds == 0
    assert costs[name].dense_multiply_adds == each.sum()


def test_pooled_and_added_spikes_are_counted_one_by_one():
    """As loops over spikes and weights count them."""

    def body(inputs):
        first = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        second = layers.ReLU(name="second")(
            layers.Conv2D(4, 1, use_bias=False)(first)
        )
        x = layers.Add()([first, second])
        x = layers.AveragePooling2D(3, strides=2)(x)
        return layers.Conv2D(2, 2, name="behind")(x)

    model, converted, x = spiking_model(body, (7, 7, 2))
    kernel = model.get_layer("behind").kernel
    pruned = np.array(kernel)
    pruned[0, 1, ::2] = 0
    kernel.assign(pruned)
    converted = spiking.to_spiking(model, x, timesteps=5)
    (first,) = (
        layer.name
        for layer in converted.layers
        if layer.name.startswith("conv2d") and "relu" in layer.name
    )
    spikes = sum(
        (values_of(converted, name, x) != 0).astype(int)
        for name in (first, "second")
    )
    assert spikes.max() == 2
    count = 0
    # Pooled places are 3x3, of windows of 3x3 every other place.
    for row, column, i, j in itertools.product(range(2), repeat=4):
        top, left = 2 * (row + i), 2 * (column + j)
        window = spikes[:, top : top + 3, left : left + 3]
        count += (window.sum(axis=(0, 1, 2)) @ (pruned[i, j] != 0)).sum()
    found = costs_of(converted, x)["behind"]
    assert found.synaptic_operations == pytest.approx(count / len(x))
    assert found.multiply_adds == 0


def hand_made(body, shape=(4, 6)):
    inputs = keras.Input(shape)
    x = spiking.IntegrateAndFire(name="first")(inputs)
    x = spiking.Readout()(spiking.IntegrateAndFire(name="last")(body(x)))
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(5, activation="softmax", name="own"),
        lambda: layers.Dense(5, activation=layers.PReLU(), name="own"),
        lambda: layers.EinsumDense("ab,bc->ac", 5, bias_axes="c", name="own"),
        lambda: layers.Dense(5, dtype="mixed_float16", name="own"),
    ],
)
def test_activations_and_biases_are_not_counted(make):
    own = make()
    model = hand_made(lambda x: spiking.OverTime(own, name="over")(x))
    x = np.full((2, 4, 6), 0.6, "float32")
    found = costs_of(model, x)
    assert found["first"].spikes == 2 * 6
    assert found["over"].synaptic_operations == 2 * 6 * 5
    assert found["over"].dense_multiply_adds == 6 * 5


def test_operations_move_and_add_spikes():
    def dense(x):
        return spiking.OverTime(layers.Dense(5), name="over")(x)

    model = hand_made(lambda x: dense(x[:, :, ::2] + x[:, :, 1::2]))
    x = np.full((2, 4, 6), 0.6, "float32")
    assert costs_of(model, x)["over"].synaptic_operations == 2 * 6 * 5
    model = hand_made(lambda x: dense(x + 1.0))
    found = costs_of(model, x)["over"]
    assert found.synaptic_operations == 0
    assert found.multiply_adds == 4 * 6 * 5


def test_the_largest_of_spikes_are_spikes():
    pool = spiking.OverTime(layers.MaxPooling1D(3))
    dense = spiking.OverTime(layers.Dense(5), name="over")
    x = np.full((2, 4, 6, 2), 0.6, "float32")
    model = hand_made(lambda x: dense(pool(x)), (4, 6, 2))
    assert costs_of(model, x)["over"].synaptic_operations == 2 * 4 * 5
    twice = hand_made(lambda x: dense(pool(layers.Add()([x, x]))), (4, 6, 2))
    assert costs_of(twice, x)["over"].multiply_adds == 2 * 4 * 5


def test_inputs_of_zeros_and_ones_are_spikes():
    inputs = keras.Input((4, 6))
    x = spiking.OverTime(layers.Dense(5), name="over")(inputs)
    x = spiking.Readout()(spiking.IntegrateAndFire()(x))
    model = keras.Model(inputs, x)
    x = (np.random.default_rng(0).random((40, 4, 6)) < 0.3).astype("float32")
    found = costs_of(model, x)["over"]
    assert found.multiply_adds == 0
    assert found.synaptic_operations == pytest.approx(x.sum() * 5 / 40)
    x[-1, 0, 0] = 2.0
    found = costs_of(model, x)["over"]
    assert found.multiply_adds == pytest.approx(np.count_nonzero(x) * 5 / 40)
    assert found.synaptic_operations == 0


def test_several_spikes_in_a_step_count_each():
    inputs = keras.Input((3, 1))
    x = spiking.DeltaModulation(0.5)(inputs)
    x = spiking.OverTime(layers.Dense(5), name="over")(x)
    x = spiking.Readout()(spiking.IntegrateAndFire()(x))
    rising = np.array([[[0.0], [1.6], [0.1]]], "float32")
    found = costs_of(keras.Model(inputs, x), rising)["over"]
    assert found.synaptic_operations == (3 + 2) * 5


def test_the_cost_says_of_how_many_examples_it_is():
    model = hand_made(lambda x: x)
    x = np.random.default_rng(0).random((40, 4, 6)).astype("float32")
    whole, some = spiking.cost(model, x), spiking.cost(model, x, examples=7)
    assert (whole.examples, some.examples) == (40, 7)
