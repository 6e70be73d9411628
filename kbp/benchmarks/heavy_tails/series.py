"""Series of many channels whose values have heavy tails, from a seed alone."""

from collections.abc import Callable

import numpy as np

ROWS, COLUMNS, DAY = 8000, 24, 144  # ten minutes to a row
SCALES = (0.01, 1e5)  # of the smallest and of the largest column
Generator = np.random.Generator


def _correlated(rng: Generator, noise: np.ndarray, decay: float) -> np.ndarray:
    """Return autoregressions of mixed noise, of about the noise's deviation."""
    mixing = np.eye(COLUMNS) + rng.normal(0, 0.2, (COLUMNS, COLUMNS))
    noise = noise @ mixing * (1 - decay**2) ** 0.5
    values = np.zeros_like(noise)
    for row in range(1, len(noise)):
        values[row] = decay * values[row - 1] + noise[row]
    return values


def _days(rng: Generator) -> np.ndarray:
    """Return a daily wave for each column, `(rows, columns)`."""
    hours = 2 * np.pi * np.arange(ROWS)[:, None] / DAY
    size = rng.uniform(0.5, 2.0, COLUMNS)
    return size * np.sin(hours + rng.uniform(0, 2 * np.pi, COLUMNS))


def _smooth(rng: Generator) -> np.ndarray:
    walk = _correlated(rng, rng.normal(size=(ROWS, COLUMNS)), 0.9995)
    return _days(rng) + walk


def shocks(rng: Generator) -> np.ndarray:
    """Return smooth columns with single values far away, of Student's t."""
    return _smooth(rng) + 0.1 * rng.standard_t(1.5, (ROWS, COLUMNS))


def volumes(rng: Generator) -> np.ndarray:
    """Return volumes, whose logarithms are seasons and autoregressions."""
    return np.exp(0.7 * _smooth(rng))


def weather(rng: Generator) -> np.ndarray:
    """Return temperatures, rain in bursts, and light, absent at night.

    A value in some thousands is missing in the first half, and stands as -100.
    """
    smooth, days = _smooth(rng), _days(rng)
    wet = _correlated(rng, rng.normal(size=(ROWS, COLUMNS)), 0.98) > 1.5
    rain = wet * rng.lognormal(0.0, 1.0, (ROWS, COLUMNS))
    clear = 1 + 0.1 * _correlated(rng, rng.normal(size=days.shape), 0.98)
    light = np.maximum(days, 0.0) * clear
    values = np.concatenate([smooth[:, :8], rain[:, :4], light[:, 12:]], axis=1)
    missing = rng.random(values.shape) < 2e-4
    missing[ROWS // 2 :] = False
    return np.where(missing, -100.0, values)


SERIES: dict[str, Callable[[Generator], np.ndarray]] = {
    function.__name__: function for function in (shocks, volumes, weather)
}


def make(name: str, seed: int = 1) -> np.ndarray:
    """Return a series of `SERIES`, float64 `(ROWS, COLUMNS)`."""
    values = SERIES[name](np.random.default_rng(seed))
    return values * np.geomspace(*SCALES, COLUMNS)
