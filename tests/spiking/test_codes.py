"""Codes of values, and what is read from spikes."""

import numpy as np
import pytest
from keras import ops

from kbp import spiking


def test_rates_of_drawn_spikes_are_the_values():
    x = np.array([[-0.5, 0.0, 0.2, 0.9, 1.0, 3.0]], "float32")
    spikes = ops.convert_to_numpy(spiking.PoissonRate(4000, seed=3)(x))
    assert set(np.unique(spikes)) == {0.0, 1.0}
    np.testing.assert_allclose(
        spikes.mean(axis=1), x.clip(0, 1), atol=3.3 * 0.5 / 4000**0.5
    )


def test_a_larger_value_fires_sooner():
    x = np.linspace(0.01, 1.5, 60, dtype="float32")[None]
    spikes = ops.convert_to_numpy(spiking.Latency(16)(x))[0]
    np.testing.assert_array_equal(spikes.sum(axis=0), 1)
    times = spikes.argmax(axis=0)
    assert (np.diff(times) <= 0).all()
    assert times[0] == 15
    assert times[-1] == 0


def test_a_series_is_what_its_changes_add_up_to():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(3, 200, 2)), axis=1).astype("float32")
    up, down = np.split(np.array(spiking.DeltaModulation(0.25)(x)), 2, axis=-1)
    assert not (up * down).any()
    back = x[:, :1] + 0.25 * np.cumsum(up - down, axis=1)
    assert np.abs(back - x).max() < 0.25 + 1e-4


def first(spikes):
    time = spikes.shape[1]
    order = np.where(spikes.any(axis=1), spikes.argmax(axis=1), time)
    return 1 - order / time


def leaky(x, leak=0.8):
    v = total = 0.0
    for t in range(x.shape[1]):
        v, total = leak * v + x[:, t], leak * total + 1
    return v / total


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (spiking.Readout("rate"), lambda x: x.mean(axis=1)),
        (spiking.Readout(settle=0.3), lambda x: x[:, 3:].mean(axis=1)),
        (spiking.Readout(settle=0.99), lambda x: x[:, -1]),
        (spiking.Readout("membrane"), lambda x: x.mean(axis=1)),
        (spiking.Readout("membrane", leak=0.8), leaky),
        (spiking.Readout("first_spike"), first),
    ],
)
def test_readouts_are_their_formulas(layer, reference):
    rng = np.random.default_rng(0)
    spikes = (rng.uniform(size=(5, 12, 3, 2)) < 0.2).astype("float32")
    spikes[0] = 0
    np.testing.assert_allclose(layer(spikes), reference(spikes), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: spiking.DirectCurrent(0),
        lambda: spiking.Latency(1.5),
        lambda: spiking.DeltaModulation(0),
        lambda: spiking.Readout("last"),
        lambda: spiking.Readout("rate", leak=0.5),
        lambda: spiking.Readout(settle=1.0),
        lambda: spiking.Readout("membrane", settle=0.5),
        lambda: spiking.ClipFloorShift(0),
        lambda: spiking.ClipFloorShift(4, 0.0),
    ],
)
def test_odd_arguments_are_refused(make):
    with pytest.raises(ValueError, match="Received: "):
        make()


@pytest.mark.parametrize(
    "encoder", [spiking.DirectCurrent, spiking.PoissonRate, spiking.Latency]
)
def test_integers_are_encoded_as_floats(encoder):
    values = np.array([[0, 1, 1]])
    found = [
        ops.convert_to_numpy(encoder(3)(ops.array(values, dtype)))
        for dtype in ("uint8", "int32", "float32")
    ]
    for one in found:
        np.testing.assert_array_equal(one, found[-1])
        assert one.dtype == np.float32
