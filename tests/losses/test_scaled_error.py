"""Errors in units of the targets' deviation."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp.losses import ScaledError

RNG = np.random.default_rng(0)
FORMULAS = {
    "mse": np.square,
    "mae": np.abs,
    "huber": lambda e: np.where(np.abs(e) < 1, e * e / 2, np.abs(e) - 0.5),
}


@pytest.mark.parametrize("error", FORMULAS)
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_value_is_the_formulas_in_any_unit(error, unit):
    y, p = unit * RNG.normal(size=(2, 50, 1))
    found = ScaledError(0.5 * unit, error)(y, p)
    expected = FORMULAS[error]((y - p) / (0.5 * unit)).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_loaded_loss_is_the_same():
    loss = ScaledError(3.0, "huber")
    config = keras.saving.serialize_keras_object(loss)
    twin = keras.saving.deserialize_keras_object(config)
    assert twin.get_config() == loss.get_config()
    y, p = RNG.normal(size=(2, 9, 1))
    np.testing.assert_array_equal(as_numpy(twin(y, p)), as_numpy(loss(y, p)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScaledError(0.0), "`scale` must be positive"),
        (lambda: ScaledError(float("nan")), "`scale` must be positive"),
        (lambda: ScaledError(1.0, "mape"), "`error` must be one of"),
    ],
)
def test_wrong_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
