"""The benchmark of rematerialization."""

import json

import keras
import pytest

from kbp.benchmarks.rematerialization import cases


def tiny():
    layers = [keras.layers.Dense(8) for _ in range(9)]
    return keras.Sequential([keras.Input((8,)), *layers])


@pytest.mark.long
@pytest.mark.parametrize("twice", [False, True])
def test_steps_are_taken_with_and_without(twice, monkeypatch):
    monkeypatch.setitem(cases.CASES, "tiny", (tiny, 4))
    grown, seconds = cases.steps("tiny", twice)
    assert abs(grown) < 1e9  # Linux counts pages roughly, and may take back
    assert seconds > 0


def test_the_table_says_what_is_spared(monkeypatch):
    monkeypatch.setattr(cases, "provenance", lambda head, lines: "Here.")
    line = {
        "case": "a network",
        "plain": {"memory": 200_000_000, "seconds": 2.0},
        "twice": {"memory": 130_000_000, "seconds": 3.0},
        "machine": "m",
        "commit": "c",
    }
    assert json.loads(json.dumps(line)) == line
    table = cases.markdown_table([line])
    assert "| a network | 200 MB | 130 MB | 35% | 1.50 |" in table
