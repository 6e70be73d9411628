"""The benchmark of prediction intervals."""

import numpy as np
import pytest

from kbp._utils.machine import machine, versions
from kbp.benchmarks.intervals import cases
from kbp.data.series import Windows
from kbp.errors import UserError
from kbp.tasks.forecasts.intervals import Intervals, rank


def test_plain_intervals_have_the_quantiles_of_absolute_errors():
    rng = np.random.default_rng(0)
    known, came = (
        Windows(rng.normal(size=(rows, 2)).astype("f4"), 8, 3)
        for rows in (210, 130)
    )
    outputs = {
        "validation": np.zeros_like(known.labels),
        "test": np.zeros_like(came.labels),
    }
    one = np.ones((1, 3, 2))
    intervals = Intervals(("a", "b"), (80.0,), 8, 200, one, np.ones(2))
    found = cases.plain(known, came, outputs, intervals)
    half = np.sort(np.abs(known.labels), axis=0)[rank(200, 80.0)]
    inside = (np.abs(came.labels) <= half).mean(axis=(0, 1))
    assert found["coverage"] == pytest.approx([inside.mean()])
    assert found["least"] == pytest.approx([inside.min()])
    assert found["most"] == pytest.approx([inside.max()])
    assert found["width"] == pytest.approx([2 * half.mean()])


def test_table_names_the_farthest_coverage_of_other_rates():
    figures = {"coverage": [0.81], "least": [0.7], "most": [0.9]}
    ways = (cases.PLAIN, cases.SCALED, cases.ADAPTED)
    rates = (f"{cases.ADAPTED}, 0.005", f"{cases.ADAPTED}, 0.02")
    line = {
        "case": "etth1_96",
        "data": "etth1",
        "horizon": 96,
        "levels": [80.0],
        "ways": {way: {**figures, "width": [1.5]} for way in (*ways, *rates)},
        "machine": machine(),
        "versions": versions(),
        "commit": "c",
    }
    line["ways"][rates[1]]["coverage"] = [0.775]
    table = cases.markdown_table([line])
    assert "| ETTh1, 96 | 80 % | 81.0 % (70 - 90); 1.50 |" in table
    assert "nominal coverage is 2.5 points" in table


def test_missing_data_are_named(tmp_path):
    with pytest.raises(UserError, match="ETT-small"):
        cases.measure(cases.CASES["etth1_96"], 1, tmp_path)
