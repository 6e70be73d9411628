"""A model whose input says how many examples a batch has."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

import kbp


@pytest.mark.long
@pytest.mark.parametrize("size", [pytest.param(4, marks=pytest.mark.slow), 1])
def test_a_fixed_batch_size_is_compressed(size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((8,), batch_size=size)
    x = keras.layers.Dense(8, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(320, n)).astype("float32") for n in (8, 2)]
    made = kbp.compress(
        model,
        tuple(data),
        quantization_epochs=0,
        workdir="wd",
        console=Console(file=io.StringIO()),
    )
    for name in ("float32", "int8"):
        found = kbp.export.Runner(made.paths[name]).predict(data[0])
        expected = model.predict(data[0], verbose=0)
        assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)
