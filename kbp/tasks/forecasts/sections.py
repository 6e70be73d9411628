"""The sections of a recipe that are for forecasts."""

from dataclasses import dataclass

import keras

from kbp import losses
from kbp._utils.config import choice, number

LOSSES = {
    "huber": keras.losses.Huber,
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "quantile": losses.Pinball,
}


@dataclass(frozen=True)
class ForecastLossConfig:
    """Section `[loss]` of forecasts; `quantile` is for that loss alone."""

    name: str = choice("huber", tuple(LOSSES), formerly="error")
    quantile: float = number(0.5, above=0, below=1)


@dataclass(frozen=True)
class ForecastTaskConfig:
    """Keys of `[task]` of forecasts.

    `intervals` are nominal coverages of prediction intervals, in percent.
    """

    intervals: tuple[float, ...] = (80.0, 95.0)


@dataclass(frozen=True)
class LinearSkipConfig:
    """Section `[linear_skip]`: where a forecast's linear skip starts.

    With a penalty of 0 it starts anywhere; else see
    `kbp.models.start_at_ridge`. With `training.keep_best` it starts at that or
    at a naive forecast, by their validation losses.
    """

    lookbacks: tuple[int, ...] = ()
    penalty: float = number(1.0, 0, 1e12)
    memory: float = number(96.0, high=1e12, above=0)
    trainable: bool = False
