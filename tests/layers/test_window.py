"""Level and scale of a window."""

import numpy as np
import pytest
from contracts import as_numpy

from kbp.layers import WindowNormalization, WindowStatistics


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    return rng.normal(3.0, [1.0, 20.0], (5, 40, 2))


def test_statistics_are_mean_and_deviation_over_time(windows):
    found = as_numpy(WindowStatistics()(windows.astype("f4")))
    expected = np.stack([windows.mean(axis=1), windows.std(axis=1)], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_normalization_and_its_inverse_are_the_formulas(windows):
    x = windows.astype("f4")
    statistics = WindowStatistics()(x)
    y = WindowNormalization()(x, statistics)
    mean, deviation = windows.mean(axis=1), windows.std(axis=1)
    expected = (windows - mean[:, None]) / deviation[:, None]
    np.testing.assert_allclose(
        as_numpy(y), expected.transpose(0, 2, 1), atol=1e-5
    )
    back = WindowNormalization(invert=True)(y, statistics)
    np.testing.assert_allclose(as_numpy(back), x, rtol=1e-5, atol=1e-5)


def test_channel_that_does_not_vary_is_zero_and_comes_back():
    x = np.full((1, 8, 1), 7.5, "f4")
    statistics = WindowStatistics()(x)
    y = WindowNormalization()(x, statistics)
    assert not as_numpy(y).any()
    # Whatever a network makes of zeros, the level stays.
    back = WindowNormalization(invert=True)(y + 3.0, statistics)
    np.testing.assert_array_equal(as_numpy(back), x)
