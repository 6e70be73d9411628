"""The pinball loss against its definition."""

import keras
import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

import kbp


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
def test_loss_is_the_mean_of_the_definition(quantile):
    rng = np.random.default_rng(0)
    labels, outputs = rng.normal(size=(2, 5, 6, 3))
    costs = [
        quantile * (y - f) if y >= f else (1 - quantile) * (f - y)
        for y, f in zip(labels.ravel(), outputs.ravel(), strict=True)
    ]
    loss = kbp.losses.Pinball(quantile, dtype="float64")
    assert float(loss(labels, outputs)) == pytest.approx(np.mean(costs), 1e-12)
    expected = mean_pinball_loss(
        labels.ravel(), outputs.ravel(), alpha=quantile
    )
    assert np.mean(costs) == pytest.approx(expected, rel=1e-12)


def test_least_loss_is_at_the_quantile():
    labels = np.arange(101.0)[:, None]
    loss = kbp.losses.Pinball(0.8)
    costs = [float(loss(labels, np.full_like(labels, x))) for x in range(101)]
    assert np.argmin(costs) == 80


def test_loss_survives_its_config():
    loss = keras.losses.deserialize(
        keras.losses.serialize(kbp.losses.Pinball(0.3))
    )
    assert isinstance(loss, kbp.losses.Pinball)
    assert loss.quantile == 0.3


@pytest.mark.parametrize("quantile", [0.0, 1.0, float("nan")])
def test_quantile_out_of_range_is_refused(quantile):
    with pytest.raises(ValueError, match="`quantile` must be between"):
        kbp.losses.Pinball(quantile)
