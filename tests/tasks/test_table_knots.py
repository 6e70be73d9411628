"""The lines that bring a table's numbers to one size."""

import numpy as np
import pytest
from scipy import stats

from kbp.tasks.tables.knots import points

RNG = np.random.default_rng(0)


def mapped(values):
    return np.interp(values, *points(values.astype("float32")))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_columns_without_a_long_tail_are_standardized(unit):
    for values in (RNG.normal(3, 1, 500), RNG.uniform(-1, 1, 500)):
        knots, heights = points((values * unit).astype("float32"))
        assert len(knots) == 2
        expected = (values - values.mean()) / values.std()
        found = np.interp(values * unit, knots, heights)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_long_tails_are_straightened(unit):
    scores = RNG.normal(size=3000)
    found = mapped(np.exp(2 * scores) * unit)
    # As exact as a line through 13 quantiles is.
    gaps = np.abs(found - scores)[np.abs(scores) < 2.5]
    assert gaps.max() < 0.4
    assert gaps.mean() < 0.1
    assert abs(stats.skew(found)) < 0.3
    assert np.abs(found).max() <= 4
    assert found.mean() == pytest.approx(0, abs=1e-3)
    assert found.std() == pytest.approx(1, abs=1e-3)


def test_one_outlier_does_not_hide_the_others():
    values = RNG.normal(size=500)
    found = mapped(np.append(values, 1e6))
    assert found[:-1].std() > 0.9
    assert found[-1] <= 4


def test_rare_values_and_many_equal_ones_have_finite_heights():
    for values in (
        np.repeat([0.0, 1.0], [490, 10]),
        np.concatenate([np.zeros(480), RNG.exponential(size=20)]),
        np.append(np.full(499, 1e9), 1e9 + 64),
    ):
        knots, heights = points(values.astype("float32"))
        assert (np.diff(knots.astype("float32")) > 0).all()
        assert (np.diff(heights) > 0).all() or len(knots) > 2
        assert (np.abs(heights) <= 4).all()
        assert np.isfinite(heights).all()
