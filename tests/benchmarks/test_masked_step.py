"""The benchmark of training steps with masks."""

import pytest

from kbp import models
from kbp._utils.machine import versions
from kbp.benchmarks.masked_step import cases


@pytest.mark.long
def test_masked_networks_are_measured_beside_the_dense_one(monkeypatch):
    small = {"small": lambda: models.PyramidBPNet((8, 8, 1), 3, width=8)}
    monkeypatch.setattr(cases, "NETWORKS", small)
    line = cases.measure("small", 1)
    assert line["milliseconds"] > 0
    assert set(line["ratios"]) == {"element", "channel"}
    assert all(ratio > 0 for ratio in line["ratios"].values())


@pytest.mark.parametrize("sets", [["AVX2"], None])
def test_the_table_tells_ratios_and_machine(sets):
    row = {
        "case": "a",
        "rounds": 7,
        "milliseconds": 12.34,
        "ratios": {"element": 1.014, "channel": 1.1},
        "machine": {"cores": 2, "processor": "b", "instruction_sets": sets},
        "versions": versions(),
        "commit": None,
    }
    table = cases.markdown_table([row])
    assert "| a | 12.3 ms | 1.01x | 1.10x |" in table
    assert "medians of 7 rounds" in table
