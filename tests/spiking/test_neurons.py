"""Neurons fire as their formula says, and learn by the surrogate."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from kbp import spiking
from kbp.spiking.surrogates import SURROGATES

STEPS, UNITS = 100, 7
CHOICES = (
    (None, 0.9),
    ("soft", "hard"),
    (0.0, 0.5),
    ("one", "threshold"),
)


def reference(x, *, threshold, leak, reset, initial, height):
    """Return the spikes, in float64 and step by step."""
    v = np.full(x.shape[::2], initial * threshold)
    found = []
    for t in range(x.shape[1]):
        v = v * (1.0 if leak is None else leak) + x[:, t]
        fired = (v >= threshold).astype(float)
        v = v - threshold * fired if reset == "soft" else v * (1 - fired)
        found.append(fired * (threshold if height == "threshold" else 1.0))
    return np.stack(found, axis=1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("leak", "reset", "initial", "height"),
    [*itertools.product(*CHOICES)],
)
def test_spikes_are_those_of_the_formula(leak, reset, initial, height):
    rng = np.random.default_rng(0)
    # Eighths, of which float32 holds all sums without a leak.
    x = rng.integers(-3, 8, size=(3, STEPS, UNITS)) / 8
    options = {"leak": leak, "reset": reset, "initial": initial}
    layer = spiking.IntegrateAndFire(
        1.5, height=height, dtype="float64", **options
    )
    expected = reference(x, threshold=1.5, height=height, **options)
    assert expected.any()
    found = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    single = spiking.IntegrateAndFire(1.5, height=height, **options)
    if leak is None:
        np.testing.assert_array_equal(single(x.astype("float32")), expected)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("slope", [0.5, 2.0, 10.0])
def test_the_derivative_of_a_spike_is_that_of_the_smooth_function(name, slope):
    import tensorflow as tf

    x = np.random.default_rng(1).normal(size=200)
    x = x[np.abs(np.abs(x) - 1 / slope) > 1e-3]  # where a triangle is bent
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        spikes = spiking.spike(tensor, name, slope)
    np.testing.assert_array_equal(spikes, x >= 0)
    step = 1e-6
    smooth = SURROGATES[name]
    up, down = (smooth(tf.constant(x + s), slope) for s in (step, -step))
    numeric = (up - down) / (2 * step)
    np.testing.assert_allclose(
        tape.gradient(spikes, tensor), numeric, rtol=1e-6, atol=1e-8
    )


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"truncation": 5}])
def test_thresholds_and_leaks_can_be_learnt(options):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (64, 20, 3)).astype("float32")
    inputs = keras.Input((20, 3))
    teacher = spiking.IntegrateAndFire(0.7, leak=0.95)
    student = spiking.IntegrateAndFire(
        1.5, leak=0.6, learn_threshold=True, learn_leak=True, **options
    )
    model = keras.Model(inputs, spiking.Readout()(student(inputs)))
    y = spiking.Readout()(teacher(x))
    assert len(model.trainable_variables) == 2
    model.compile(keras.optimizers.Adam(0.05), "mse")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=10, batch_size=16, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.1 * before


def test_a_spiking_network_is_saved_and_loaded(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 4))
    x = spiking.DeltaModulation(0.5)(inputs)
    x = spiking.OverTime(keras.layers.Dense(5))(x)
    x = spiking.IntegrateAndFire(
        0.3, leak=0.9, reset="hard", learn_leak=True, truncation=3
    )(x)
    model = keras.Model(inputs, spiking.Readout("first_spike")(x))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(5, 6, 4)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert np.any(model(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, "`threshold` must be positive"),
        ({"threshold": "a"}, "`threshold` must be a number"),
        ({"leak": 1.0}, "`leak` must be more than 0"),
        ({"reset": "none"}, "`reset` must be one of"),
        ({"initial": 1.0}, "`initial` must be 0 or more"),
        ({"height": "two"}, "`height` must be one of"),
        ({"surrogate": "sine"}, "`surrogate` must be one of"),
        ({"slope": 0.0}, "`slope` must be positive"),
        ({"learn_leak": True}, "needs a `leak`"),
        ({"truncation": 0}, "`truncation` must be a whole number"),
    ],
)
def test_odd_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        spiking.IntegrateAndFire(**arguments)


def test_a_shape_without_time_is_named():
    with pytest.raises(ValueError, match=r"must be given \(batch, time"):
        spiking.IntegrateAndFire()(np.ones((2, 3)))
