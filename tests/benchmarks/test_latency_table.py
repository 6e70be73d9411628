"""The benchmark of predicted latencies, with a small network."""

import keras
import numpy as np
import pytest

from kbp._utils.machine import versions
from kbp.benchmarks.latency_table import cases

layers = keras.layers


def network():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(64, 3, activation="relu")(inputs)
    x = layers.Conv2D(48, 3, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))


@pytest.mark.long
def test_prunings_are_predicted_and_measured(monkeypatch):
    monkeypatch.setattr(cases, "NETWORKS", {"small": network})
    monkeypatch.setattr(cases, "CASES", {"small": ("small", "float32")})
    monkeypatch.setattr(cases, "PRUNINGS", 4)
    line = {"case": "small", **cases.measure("small", 2)}
    for key in ("parameters", "predicted", "measured"):
        assert len(line[key]) == 4
        assert all(value > 0 for value in line[key])
    assert min(line["parameters"]) < 1
    assert cases.LATENCY_TABLE.show(line)


def test_errors_are_shares_of_what_was_measured():
    line = {"predicted": [0.5, 1.1, 0.3], "measured": [1.0, 1.0, 0.3]}
    np.testing.assert_allclose(cases.errors(line), [-0.5, 0.1, 0.0], atol=1e-9)


def test_the_table_tells_how_many_are_near():
    row = {
        "case": "a, int8",
        "milliseconds": 1.5,
        "predicted": [0.5, 1.05, 0.3],
        "measured": [1.0, 1.0, 0.3],
        "machine": {"cores": 2, "processor": "b", "instruction_sets": ["AVX2"]},
        "versions": versions(),
        "commit": None,
    }
    table = cases.markdown_table([row])
    assert "| a, int8 | 1.500 ms | 30% | 5.0% | 50.0% | 2 of 3 |" in table
    assert "AVX2" in table
