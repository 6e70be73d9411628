"""The benchmark of truncated backpropagation through time."""

import json
import os

import numpy as np
import pytest

from kbp.benchmarks.truncation import cases, copying


def line(case, **figures):
    return {"case": case, **figures, "machine": "m", "commit": "c"}


LINES = [
    line("last output, 50 steps", memory=20_000_000, seconds=0.5),
    line("last output, all steps", memory=400_000_000, seconds=1.0),
    line("all outputs, 10 steps", memory=90_000_000, seconds=2.0),
    line("recall after 200, 50 steps", losses=[1.386, 1.38]),
]


def test_first_symbol_is_the_one_to_recall():
    x, y = copying.sequences(5, np.random.default_rng(0))
    assert x.shape == (5, copying.LENGTH, copying.SYMBOLS + 1)
    np.testing.assert_array_equal(x[:, 0, :-1].argmax(axis=-1), y)
    assert x[:, 0, -1].all()
    assert not x[:, 1:, -1].any()


@pytest.mark.long
def test_task_is_trained_and_judged(monkeypatch):
    monkeypatch.setattr(copying, "LENGTH", 6)
    monkeypatch.setattr(cases, "COPIES", {"short": 6})
    losses = [copying.loss_after(6, 0, updates) for updates in (1, 60)]
    assert losses[1] < losses[0]
    monkeypatch.setattr(copying, "loss_after", lambda steps, seed: 0.5 + seed)
    assert cases.measure("short", 30) == {"losses": [0.5, 1.5, 2.5]}


def test_memory_and_time_come_from_processes_of_their_own(monkeypatch):
    seen = []

    def train(function, *case):
        assert (function, case) == (cases.train, (True, 50))
        seen.append(os.environ.get("MALLOC_MMAP_THRESHOLD_"))
        return 7, 0.5

    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "99")
    monkeypatch.setattr(cases, "in_new_process", train)
    found = cases.measure("all outputs, 50 steps", 2)
    assert found == {"memory": 7, "seconds": 0.5}
    assert seen == ["32768", "32768", "99", "99"]


@pytest.mark.long
@pytest.mark.parametrize("sequences", [False, True])
def test_steps_are_measured(sequences, monkeypatch):
    monkeypatch.setattr(cases, "TIME", 20)
    grown, seconds = cases.train(sequences, 5, batch_size=4)
    assert abs(grown) < 1e9  # Linux counts pages roughly, and may take back
    assert seconds > 0


def test_table_compares_with_all_steps(monkeypatch):
    monkeypatch.setattr(cases, "provenance", lambda head, lines: "Here.")
    assert json.loads(json.dumps(LINES)) == LINES
    table = cases.markdown_table(LINES)
    assert "| last output, 50 steps | 20 MB | 0.05 | 0.50 s |" in table
    assert "| recall after 200, 50 steps | 1.386, 1.380 |" in table


def test_plot_has_both_kinds_of_outputs():
    text = cases.plot(LINES)
    assert text.startswith("<svg")
    assert "memory of a step" in text
