"""Steps a second on several devices, and soaks."""

import os

import pytest

from kbp._utils.machine import machine, versions
from kbp.benchmarks.distribution import cases, soak, speed
from kbp.errors import UserError

LINE = {
    "rounds": 2,
    "machine": machine(),
    "versions": versions(),
    "commit": "abc",
}


@pytest.mark.parametrize(
    "variants",
    [
        # Keras's own, and what differs most from it.
        [speed.KERAS, f"HybridOptimizer, {speed.TOGETHER} steps at once"],
        pytest.param([*speed.VARIANTS], marks=pytest.mark.slow),
    ],
    ids=["two", "all"],
)
@pytest.mark.slow
def test_variants_take_their_turns(variants, monkeypatch):
    chosen = {name: speed.VARIANTS[name] for name in variants}
    monkeypatch.setattr(speed, "VARIANTS", chosen)
    figures = speed.speeds("2 devices", 1)["figures"]
    assert list(figures) == variants
    assert figures[speed.KERAS]["ratio"] == 1
    assert all(figure["median"] > 0 for figure in figures.values())
    table = cases.markdown_table(
        [{**LINE, "case": "2 devices", "figures": figures}]
    )
    assert table.count("| 2 devices |") == len(figures)


def test_soaks_are_summed_up():
    values = [9, 9, 4, 4, 5, 5, 5, 5, 5, 5]
    assert soak.growth(values) == pytest.approx(0.25)
    assert soak.growth([4, 4]) == 0
    line = {
        **LINE,
        "case": soak.SOAK,
        "steps": 12345,
        "memory": values,
        "files": [7] * 10,
        "threads": [3] * 9 + [4],
    }
    text = cases.markdown_table([line])
    assert "12,345 steps" in text
    assert "memory grows by 25.0%" in text
    assert "(3 to 4)" in text
    memory, files, threads = soak._held(os.getpid())
    assert memory > 1e7
    assert files > 2
    assert threads > 1
    assert soak._held(2**30) is None


def test_unknown_cases_are_refused(tmp_path):
    with pytest.raises(UserError, match="3 devices"):
        cases.DISTRIBUTION.run(tmp_path / "x.jsonl", names=["3 devices"])
