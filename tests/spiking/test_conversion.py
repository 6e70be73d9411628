"""Spiking networks answer what the networks that they are made of do."""

import keras
import numpy as np
import pytest
from keras import layers

from kbp import spiking


def network(body, shape=(8, 8, 2), head=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = body(inputs)
    if head:
        x = layers.Flatten()(x)
        x = layers.Dense(4, activation="softmax", name="head")(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    for layer in model.layers:  # statistics that are not those of the start
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(
                [rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()]
            )
    return model


def data(shape=(8, 8, 2), count=32):
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, *shape)).astype("float32")


def residual(x):
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = layers.BatchNormalization()(layers.Conv2D(6, 1)(y))
    return layers.ReLU()(layers.Add()([x, y]))


def shared(x):
    dense = layers.Dense(5, activation="relu")
    x = layers.Flatten()(x)
    return layers.Concatenate()([dense(x), dense(x[:, ::-1])])


BODIES = {
    "dense": lambda x: layers.Dense(20, activation="relu")(layers.Flatten()(x)),
    "activation layer": lambda x: layers.Activation("relu")(
        layers.Conv2D(4, 3)(x)
    ),
    "relu6": lambda x: layers.Conv2D(4, 3, activation="relu6")(x),
    "pooling": lambda x: layers.AveragePooling2D(2)(
        layers.Conv2D(4, 3, activation="relu")(x)
    ),
    "global pooling": lambda x: layers.GlobalAveragePooling2D()(
        layers.Conv2D(4, 3, activation="relu")(x)
    ),
    "dropout": lambda x: layers.Dropout(0.5)(
        layers.Conv2D(4, 3, activation="relu")(x)
    ),
    "depthwise": lambda x: layers.ReLU()(
        layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x))
    ),
    "residual": residual,
    "residual by plus": lambda x: layers.ReLU()(
        layers.Conv2D(2, 3, padding="same")(layers.ReLU()(x)) + x
    ),
    "normalization first": lambda x: layers.Conv2D(3, 3)(
        layers.ReLU()(layers.BatchNormalization()(x))
    ),
    "two branches": lambda x: layers.Concatenate()(
        [layers.Conv2D(3, 1, activation="relu")(x), layers.Conv2D(2, 1)(x)]
    ),
    "nested": lambda x: keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.AveragePooling2D(2)]
    )(x),
}


@pytest.mark.long
@pytest.mark.parametrize("name", BODIES)
def test_answers_approach_those_of_the_network(name):
    model, x = network(BODIES[name]), data()
    expected, gaps = model.predict(x, verbose=0), []
    for timesteps in (8, 128):
        converted = spiking.to_spiking(
            model, x, timesteps=timesteps, percentile=100
        )
        assert converted.output_shape == model.output_shape
        found = converted.predict(x, verbose=0)
        gaps.append(np.abs(found - expected).max())
    assert gaps[1] < min(0.02, gaps[0])


@pytest.mark.long
def test_deep_networks_answer_better_once_they_have_settled():
    def deep(x):
        for _ in range(20):
            x = layers.Dense(32, "relu", kernel_initializer="he_normal")(x)
        return x

    model = network(deep, shape=(16,), head=False)
    x = data(shape=(16,))
    gaps = []
    for settle in (0.0, 0.5):
        made = spiking.to_spiking(model, x, timesteps=32, settle=settle)
        found = made.predict(x, verbose=0)
        gaps.append(np.abs(found - model.predict(x, verbose=0)).mean())
        over_time = spiking.outputs_over_time(made, x)
        np.testing.assert_allclose(over_time[-1], found, atol=1e-5)
    assert gaps[1] < 0.8 * gaps[0]


def test_spikes_count_what_clip_floor_shift_gives():
    """With one layer of neurons, both are the same to rounding."""
    model = network(BODIES["dense"])
    rounded = spiking.to_clip_floor_shift(model, data(), levels=8)
    converted = spiking.to_spiking(rounded, timesteps=8)
    np.testing.assert_allclose(
        converted.predict(data(), verbose=0),
        rounded.predict(data(), verbose=0),
        atol=1e-5,
    )


def test_the_given_network_is_left_as_it_is():
    model = network(residual)
    before = [w.copy() for w in model.get_weights()]
    converted = spiking.to_spiking(model, data(), timesteps=4)
    converted.compile("sgd", "sparse_categorical_crossentropy")
    converted.fit(data(), np.zeros(32), epochs=1, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_encoder_draws_the_inputs():
    model = network(BODIES["dense"])
    x = np.abs(data()).clip(0, 1)
    converted = spiking.to_spiking(
        model,
        x,
        timesteps=256,
        percentile=100,
        encoder=spiking.PoissonRate(256, seed=0),
    )
    found = converted.predict(x, verbose=0)
    assert np.abs(found - model.predict(x, verbose=0)).max() < 0.15


def test_an_encoder_of_another_time_is_refused():
    model, x = network(BODIES["dense"]), np.abs(data()).clip(0, 1)
    with pytest.raises(ValueError, match=r"32 time steps.*`timesteps` is 64"):
        spiking.to_spiking(
            model, x, timesteps=64, encoder=spiking.PoissonRate(32)
        )
    own = layers.Lambda(
        lambda x: keras.ops.repeat(x[:, None], 3, axis=1),
        output_shape=(3, 8, 8, 2),
    )
    with pytest.raises(ValueError, match=r"of 4 time steps.*3, 8, 8, 2"):
        spiking.to_spiking(model, x, timesteps=4, encoder=own)


@pytest.mark.parametrize("kind", [spiking.PoissonRate, spiking.Latency])
def test_values_that_a_code_would_cut_off_are_refused(kind):
    model = network(BODIES["dense"])
    rounded = spiking.to_clip_floor_shift(model, data(), levels=4)
    for each in (model, rounded):
        with pytest.raises(ValueError, match=r"0 to 1, and the data have -"):
            spiking.to_spiking(each, data(), timesteps=4, encoder=kind(4))
    made = spiking.to_spiking(rounded, timesteps=4, encoder=kind(4))
    assert made.output_shape == model.output_shape


def test_rows_in_units_of_their_own_are_not_encoded():
    from kbp.layers import TableEncoding

    inputs = keras.Input((3,))
    x = TableEncoding([0, 2, 0], name="table")(inputs)
    x = layers.Dense(4)(layers.Dense(8, activation="relu")(x))
    rows = np.array([[0.5, 1, 0.2], [0.1, 0, 0.9]], "float32")
    model = keras.Model(inputs, x)
    assert spiking.to_spiking(model, rows, timesteps=4)
    with pytest.raises(ValueError, match=r"table \(TableEncoding\) takes inp"):
        spiking.to_spiking(
            model, rows, timesteps=4, encoder=spiking.PoissonRate(4)
        )


def test_new_layers_have_names_that_no_layer_has():
    inputs = keras.Input((4,), name="dense_relu")
    x = layers.Dense(5, activation="relu", name="dense")(inputs)
    x = layers.Dense(5, activation="relu", name="current")(x)
    x = layers.Dense(5, activation="relu", name="logits_rate")(x)
    x = layers.Dense(5, name="logits")(layers.Identity(name="spikes")(x))
    model = keras.Model(inputs, [x, layers.Softmax(name="shares")(x)])
    rows = np.random.default_rng(0).random((8, 4)).astype("float32")
    encoder = spiking.PoissonRate(256, seed=0, name="spikes")
    for options in ({}, {"encoder": encoder}):
        made = spiking.to_spiking(model, rows, timesteps=256, **options)
        names = [layer.name for layer in made.layers]
        assert len({*names}) == len(names)
        found, shares = made.predict(rows, verbose=0)
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)
        assert found.shape == (8, 5)
    assert encoder.name == "spikes"


@pytest.mark.long
def test_training_through_time_lowers_the_loss():
    model, x = network(residual), data(count=64)
    y = np.arange(64) % 4
    converted = spiking.to_spiking(
        model, x, timesteps=4, truncation=2, learn_threshold=True
    )
    converted.compile("adam", "sparse_categorical_crossentropy")
    losses = converted.fit(x, y, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda x: layers.MaxPooling2D()(layers.ReLU()(x)), "average pooling"),
        (layers.LeakyReLU(), "linear, and ReLU"),
        (lambda x: layers.ReLU(negative_slope=0.1)(x), "nothing below 0"),
        (layers.Activation("tanh"), "only ReLU becomes spikes"),
        (lambda x: layers.ReLU()(layers.LayerNormalization()(x)), "linear"),
        (layers.Conv2D(3, 3), "has no ReLU"),
    ],
)
def test_what_cannot_spike_is_named(body, words):
    with pytest.raises(ValueError, match=words):
        spiking.to_spiking(network(body), data(), timesteps=4)


def test_masks_and_missing_data_are_named():
    from kbp import sparsity

    masked = sparsity.apply_dtm(network(residual), protect_ends=False)
    with pytest.raises(ValueError, match=r"shrink.*or.*strip"):
        spiking.to_spiking(masked, data(), timesteps=4)
    with pytest.raises(ValueError, match="`data` must be inputs"):
        spiking.to_spiking(network(BODIES["dense"]), timesteps=4)
    with pytest.raises(ValueError, match="`timesteps` must be a whole number"):
        spiking.to_spiking(network(BODIES["dense"]), data(), timesteps=0)


@pytest.mark.parametrize("operation", ["space_to_depth", "depth_to_space"])
def test_patches_are_taken_and_put_back_at_each_step(operation):
    inputs = keras.Input((4, 6, 8))
    x = layers.ReLU()(layers.Conv2D(8, 1)(inputs))
    x = getattr(keras.ops.nn, operation)(x, 2)
    model = keras.Model(inputs, layers.Conv2D(3, 1)(x))
    x = np.random.default_rng(0).normal(size=(4, 4, 6, 8)).astype("float32")
    converted = spiking.to_spiking(model, x, timesteps=256, percentile=100)
    gap = np.abs(converted.predict(x, verbose=0) - model.predict(x, verbose=0))
    assert gap.max() < 0.05
    assert converted.output_shape == model.output_shape


@pytest.mark.long
@pytest.mark.parametrize("size", ["plain", "small"])
def test_a_pyramid_with_average_pooling_becomes_spiking(size):
    from kbp.models import PyramidBPNet

    model = PyramidBPNet((16, 16, 1), 4, size=size, width=4, pooling="average")
    x = np.random.default_rng(0).random((8, 16, 16, 1)).astype("float32")
    converted = spiking.to_spiking(model, x, timesteps=64, percentile=100)
    gap = np.abs(converted.predict(x, verbose=0) - model.predict(x, verbose=0))
    assert gap.max() < 0.1 * model.predict(x, verbose=0).std()


# -- what it costs --


def test_a_raster_is_what_the_neurons_gave():
    model = network(residual)
    converted = spiking.to_spiking(model, data(), timesteps=6)
    found = spiking.raster(converted, data())
    kind = spiking.IntegrateAndFire
    assert [*found] == [x.name for x in converted.layers if isinstance(x, kind)]
    for name, fired in found.items():
        inner = keras.Model(converted.input, converted.get_layer(name).output)
        values = np.array(inner(data()[:1]))[0].reshape(6, -1)
        np.testing.assert_array_equal(fired, values != 0)
    with pytest.raises(ValueError, match="no spiking neurons"):
        spiking.raster(model, data())


def test_operations_are_those_of_spikes_and_weights_that_are_not_0():
    model = network(residual)
    kernel = model.layers[4].kernel
    pruned = np.array(kernel)
    pruned[..., ::2] = 0
    kernel.assign(pruned)
    x = data(count=3)
    converted = spiking.to_spiking(model, x, timesteps=6)
    found = {layer.name: layer for layer in spiking.cost(converted, x).layers}
    first, second = (model.layers[i].name for i in (1, 4))
    padded = 8 * 8 * 9 - 4 * 8 * 3 + 4  # products of a 3x3 window, not beside
    assert found[first].multiply_adds == padded * 2 * 6
    assert found[second].dense_multiply_adds == padded * 6 * 3
    spikes = keras.Model(
        converted.input, converted.get_layer(model.layers[3].name).output
    )(x)
    fired = np.pad(
        np.array(spikes) != 0, ((0, 0),) * 2 + ((1, 1),) * 2 + ((0, 0),)
    )
    window = sum(
        fired[:, :, i : i + 8, j : j + 8].sum()
        for i in range(3)
        for j in range(3)
    )
    assert found[second].synaptic_operations == pytest.approx(window * 3 / 3)
    assert (
        found[model.layers[3].name].spikes == (np.array(spikes) != 0).sum() / 3
    )


def test_energy_is_that_of_the_stated_constants():
    model = network(BODIES["dense"])
    converted = spiking.to_spiking(model, data(), timesteps=8)
    found = spiking.cost(converted, data())
    assert found.timesteps == 8
    assert found.energy == pytest.approx(
        4.6e-12 * found.total("multiply_adds")
        + 0.9e-12 * found.total("synaptic_operations")
    )
    assert found.dense_energy == pytest.approx(4.6e-12 * (128 * 20 + 20 * 4))


def test_the_last_step_answers_what_the_network_does():
    model = network(residual)
    converted = spiking.to_spiking(model, data(), timesteps=6)
    found = spiking.outputs_over_time(converted, data())
    assert found.shape == (6, 32, 4)
    np.testing.assert_allclose(
        found[-1], converted.predict(data(), verbose=0), atol=1e-6
    )
    with pytest.raises(ValueError, match="0 layers `Readout`"):
        spiking.outputs_over_time(model, data())
    with pytest.raises(ValueError, match="no spiking neurons"):
        spiking.cost(model, data())


def test_the_readout_of_many_steps_is_built_at_once():
    steps = 100_000  # of which the square would take minutes
    x = np.random.default_rng(0).random((1, steps, 1)).astype("float32")
    found = spiking.Readout("membrane", leak=0.9)(x)
    potential = given = 0.0
    for value in x[0, -1000:, 0].astype("float64"):
        potential, given = 0.9 * potential + value, 0.9 * given + 1.0
    np.testing.assert_allclose(float(found[0, 0]), potential / given, 1e-5)
