"""The benchmark of heavy-tailed series."""

import numpy as np
import pytest

from kbp.benchmarks.heavy_tails import cases, series


@pytest.mark.parametrize("name", series.SERIES)
def test_series_are_of_their_seed_alone_and_of_all_scales(name):
    values = series.make(name)
    assert values.shape == (series.ROWS, series.COLUMNS)
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values, series.make(name))
    assert not np.array_equal(values, series.make(name, seed=2))
    deviations = values.std(axis=0)
    assert deviations.max() / deviations.min() > 1e6


@pytest.mark.parametrize("name", series.SERIES)
def test_series_have_heavier_tails_than_a_normal_distribution(name):
    values = series.make(name)
    z = (values - values.mean(axis=0)) / values.std(axis=0)
    assert np.median((z**4).mean(axis=0)) > 3.5  # 3 of a normal one


@pytest.mark.parametrize("network", cases.NETWORKS)
def test_recipes_are_those_of_the_networks(tmp_path, network):
    recipe = cases.recipe_of(network, tmp_path / "series.csv")
    layers = recipe.model.argument("num_layers", None)
    assert bool(layers) == bool(recipe.training.epochs)
    assert recipe.quantization.epochs == 0


def test_table_compares_with_float32():
    figures = {"column": 0.5, "bytes": 1000, "milliseconds": 1.0}
    line = {
        "case": "rain, linear",
        "float32": {"mse": 0.5, **figures},
        "int8": {"mse": 0.51, **figures},
        cases.INT16: {"mse": 0.5, **figures},
        **{"machine": {"cores": 2}, "versions": {}, "commit": "abc"},
    }
    rows = [*cases._rows(line)]
    assert [row[3] for row in rows] == ["", "+2.00%", "+0.00%"]


@pytest.mark.slow
def test_sixteen_bits_keep_what_eight_lose(tmp_path):
    found = cases.measure("weather", "linear", tmp_path, rounds=1)
    whole, eight, wide = (
        found[key]["mse"] for key in ("float32", "int8", cases.INT16)
    )
    assert eight > 1.01 * whole
    assert wide < 1.001 * whole
