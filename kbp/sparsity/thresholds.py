"""Where the thresholds of masks are, by the scores that are to go."""

import keras
import numpy as np

from kbp.layers import DTM, TransformedLayer


def scores_of(layer: TransformedLayer, dtm: DTM) -> np.ndarray:
    """Return the scores of a mask, flat."""
    scores = dtm.scores(keras.ops.convert_to_tensor(layer.kernel))
    return keras.ops.convert_to_numpy(scores).ravel().astype(np.float64)


def unit_of(scores: np.ndarray) -> float:
    """Return the scores' standard deviation, more where they hardly differ."""
    floor = 0.1 * float(np.abs(scores).mean())
    return max(float(scores.std()), floor, 1e-12)


def threshold_of(scores: np.ndarray, count: int, temperature: float) -> float:
    """Return a threshold below which so many scores lie, or fewer.

    Equal scores stay together: a layer whose channels are all alike, because
    it has not trained yet, must not go whole. Zeros go together, which changes
    no output, unless there is nothing else.
    """
    border = np.partition(scores, count)[count]  # the least that stays
    below, above = scores[scores < border], scores[scores > border]
    if count and border == 0 and above.size and not below.size:
        return _between(border, above.min())
    if below.size:
        return _between(below.max(), border)
    # So far below that even the soft mask is nearly one.
    return float(border) - 8.0 / temperature


def _between(low: float, high: float) -> float:
    """Return a number that no compiler rounds to a score."""
    middle = (low + high) / 2
    return float(middle if low < np.float32(middle) < high else low)
