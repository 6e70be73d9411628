"""Spiking networks of recipes."""

import io

import keras
import numpy as np
import pytest
import recordings
from contracts import as_numpy
from rich.console import Console

from kbp import export, spiking, training
from kbp.errors import UserError
from kbp.models import SpikingMLP
from kbp.recipes import Recipe


def reference(model, x, *, leak, readout):
    """Run a network of one hidden layer step by step, in float64."""
    first, hidden, last, out = (
        as_numpy(w).astype("float64")
        for w in (
            *model.get_layer("layer0_current").layer.weights,
            *model.get_layer("logits_current").layer.weights,
        )
    )
    v, u = np.zeros(len(hidden)), np.zeros(len(out))
    potential, fired = np.zeros(len(out)), np.zeros((len(x), len(out)))
    for t, step in enumerate(x.astype("float64")):
        v = leak * v + step @ first + hidden
        s = v >= 1
        v = v - s
        current = s @ last + out
        potential = leak * potential + current
        u = leak * u + current
        fired[t] = u >= 1
        u = u - fired[t]
    if readout == "rate":
        return fired.sum(axis=0)
    if readout == "first_spike":
        silent = np.cumprod(1 - fired, axis=0)
        return (1 - silent).sum(axis=0)
    return potential / sum(leak**t for t in range(len(x)))


@pytest.mark.parametrize("readout", ["membrane", "rate", "first_spike"])
@pytest.mark.parametrize("leak", [0.75, 1.0])
def test_the_network_is_that_of_the_formula(readout, leak):
    model = SpikingMLP((9, 5), 3, width=7, leak=leak, readout=readout)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "threshold" not in weight.path:  # in quarters, which are exact
            weight.assign(rng.integers(-4, 6, weight.shape) / 4)
    x = rng.integers(0, 3, (4, 9, 5)).astype("float32")
    found = as_numpy(model(x))
    for values, expected in zip(x, found, strict=True):
        wanted = reference(model, values, leak=leak, readout=readout)
        np.testing.assert_allclose(expected, wanted, rtol=1e-5, atol=1e-6)
    assert np.ptp(found) > 0


@pytest.mark.parametrize("shape", [(6,), (4, 4, 2)])
def test_inputs_without_a_time_are_a_current(shape):
    model = SpikingMLP(shape, 3, timesteps=5, width=4, num_layers=2)
    assert model.output_shape == (None, 3)
    found = spiking.cost(model, np.ones((2, *shape), "float32"))
    assert found.timesteps == 5
    first = next(x for x in found.layers if x.name == "layer0_dense")
    assert first.multiply_adds == np.prod(shape) * 4  # once, not at each step


@pytest.mark.long
def test_every_weight_learns_through_truncated_time():
    model = SpikingMLP(
        (8, 4),
        2,
        width=16,
        num_layers=2,
        truncation=4,
        learn_leak=True,
        learn_threshold=True,
        dropout=0.1,
        l2=1e-4,
    )
    x = np.random.default_rng(0).integers(0, 3, (16, 8, 4)).astype("float32")
    before = [as_numpy(v) for v in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.fit(x, np.arange(16) % 2, epochs=3, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, as_numpy(new)), new.path


@pytest.mark.parametrize(
    ("shape", "arguments", "words"),
    [
        ((8, 4), {"timesteps": 4}, "these have 8 steps"),
        ((8,), {}, "`timesteps` must say how long"),
        ((8,), {"timesteps": 20_000}, "at most 10000"),
        ((8, 4), {"truncation": 9}, "at most the 8 time steps"),
        ((8, 4), {"leak": 0.0}, "`leak` must be more than 0"),
        ((8, 4), {"leak": 1.0, "learn_leak": True}, "below 1 if it is learnt"),
        ((8, 4), {"readout": "mean"}, "`readout` must be one of"),
        ((8, 4), {"surrogate": "step"}, "`surrogate` must be one of"),
        ((8, 4), {"threshold": 0.0}, "`threshold` must be positive"),
        ((None, 4), {}, "`input_shape` must be fixed"),
    ],
)
def test_wrong_arguments_are_named(shape, arguments, words):
    with pytest.raises(ValueError, match=words):
        SpikingMLP(shape, 3, **arguments)


def recipe(folder, **sections):
    return Recipe.parse(
        {
            "model": {"architecture": "spiking_mlp", "width": 32},
            "data": recordings.section(folder),
            "optimizer": {"learning_rate": 0.01},
            "training": {"epochs": 20, "batch_size": 8},
            "quantization": {"enabled": False},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


def test_eight_bits_are_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"quantization\.enabled = false"):
        recipe(tmp_path, quantization={})


@pytest.mark.long
def test_a_recipe_trains_it_on_recordings(tmp_path):
    recordings.write(tmp_path / "all", 12)
    console = Console(file=io.StringIO())
    made = recipe(tmp_path / "all")
    training.run(made, tmp_path / "run", console=console)
    file = tmp_path / "run" / "model_float32.tflite"
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    from kbp.tasks import make_task

    test = make_task(made)
    x = test.inputs("test")
    checked = export.verify(model, file, x)
    assert checked.within_one == 1.0
    assert test.score(model.predict(x, verbose=0)) >= 0.75
    assert "OPERATOR" not in {op.name for op in export.audit(file).operations}


def test_pruning_is_refused_before_training(tmp_path):
    recordings.write(tmp_path / "all", 6)
    made = recipe(tmp_path / "all", sparsity={"target": 0.5})
    console = Console(file=io.StringIO())
    with pytest.raises(UserError, match=r"\[sparsity\]"):
        training.run(made, tmp_path / "run", console=console)
    assert not (tmp_path / "run" / "model.keras").exists()
