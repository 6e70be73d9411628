"""Every kind of linear layer is computed over time as it was before."""

import keras
import numpy as np
import pytest
from keras import layers
from linear_layers import JOINS, KERNELS, PLAIN, randomize

from kbp import graph, spiking
from kbp.spiking.rectifiers import LINEAR

STEPS = 512


def test_each_kind_of_linear_layer_is_tested():
    assert {*KERNELS, *PLAIN, *JOINS} == {*LINEAR}


def check(model, last="last"):
    """Compare a network's last ReLU with the mean of its spikes."""
    randomize(model)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (4, *model.input_shape[1:])).astype("float32")
    expected = model.predict(x, verbose=0)
    assert expected.max() > 0.1
    converted = spiking.to_spiking(model, x, timesteps=STEPS, percentile=100)
    neurons = converted.get_layer(last)
    assert isinstance(neurons, spiking.IntegrateAndFire)
    found = converted.predict(x, verbose=0)
    # What is left over, and spikes that came too late.
    np.testing.assert_allclose(found, expected, atol=0.03 * expected.max())


@pytest.mark.long
@pytest.mark.parametrize("kind", [*KERNELS])
def test_layers_with_an_activation_of_their_own(kind):
    make, shape = KERNELS[kind]
    inputs = keras.Input(shape)
    layer = graph.clone_layer(make(), activation="relu", name="own")
    x = layer(layers.ReLU()(inputs))
    check(keras.Model(inputs, x), "own_relu")


@pytest.mark.long
@pytest.mark.parametrize("kind", [*KERNELS])
@pytest.mark.parametrize("where", ["at the inputs", "behind neurons"])
def test_layers_with_a_batch_normalization_behind(kind, where):
    make, shape = KERNELS[kind]
    inputs = x = keras.Input(shape)
    if where == "behind neurons":
        x = layers.ReLU()(x)
    x = layers.BatchNormalization()(make()(x))
    check(keras.Model(inputs, layers.ReLU(name="last")(x)))


@pytest.mark.long
@pytest.mark.parametrize("kind", [*PLAIN, *JOINS])
def test_layers_without_a_kernel(kind):
    make, shape = (PLAIN | JOINS)[kind]
    inputs = keras.Input(shape)
    x = layers.ReLU()(inputs)
    if kind in JOINS:
        x = [x, layers.ReLU()(layers.Rescaling(-1.0, 0.3)(inputs))]
    check(keras.Model(inputs, layers.ReLU(name="last")(make()(x))))
