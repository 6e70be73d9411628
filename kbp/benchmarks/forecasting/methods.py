"""The methods of the forecasting race: BP-Transformer, ablations, peers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import models
from kbp.data.datasets.ett import ROWS_OF_AN_HOUR
from kbp.data.series import SeriesSplits, Windows
from kbp.models.linear.ridge import ridges

WEEK, DAY = 168, 24  # in hours
HORIZONS = (96, 192, 336, 720)  # in rows, as published
DATA = ("etth1", "etth2", "ettm1")


@dataclass(frozen=True)
class Method:
    """A way to forecast.

    Attributes:
        fit: for methods in closed form,
            `fit(splits, data) -> (predict, number of parameters)`.
        build: for those that are trained, `build(splits, data) -> model`.
        untrained: the same where the learning rate is 0.
        lookbacks: `lookbacks(data) -> candidates`, in rows.
        learning_rates: candidates; the best pair is chosen on validation.
        ours: whether it is kbp's.
        seeds: number of seeds; 0 for that of the protocol.
        cases: pairs of data set and horizon that it is raced on.
    """

    fit: Callable | None = None
    build: Callable | None = None
    untrained: Callable | None = None
    lookbacks: Callable = field(default=lambda data: (336,))
    learning_rates: tuple[float, ...] = (0.0,)
    ours: bool = False
    seeds: int = 0
    cases: tuple[tuple[str, int], ...] = tuple(
        (data, horizon) for data in DATA for horizon in HORIZONS
    )


def repeat(splits: SeriesSplits, data: str) -> tuple[Callable, int]:
    """Forecast the window again and again."""
    horizon = splits.test.horizon
    times = -(-horizon // splits.test.lookback)
    return lambda x: np.tile(x, (1, times, 1))[:, :horizon], 0


def ridge(splits: SeriesSplits, data: str) -> tuple[Callable, int]:
    """Forecast by ridge, of the penalty that is best on validation."""
    train, validation = splits.train, splits.validation
    found: list[tuple[float, Callable]] = []
    for kernel in ridges(train.inputs, train.labels, (0.01, 0.1, 1.0, 10.0)):

        def predict(x, kernel=kernel):
            mean = x.mean(axis=1, keepdims=True)
            z = np.moveaxis(x - mean, 1, -1)  # (windows, channels, time)
            return np.moveaxis(z @ kernel, -1, 1) + mean

        error, _ = mean_errors(predict, validation)
        found.append((error, predict))
    _, best = min(found, key=lambda pair: pair[0])
    return best, kernel.size


def dlinear(splits: SeriesSplits, data: str) -> keras.Model:
    """Return a DLinear, as published."""
    time, channels = splits.input_shape
    return models.DLinear(
        (time, channels), splits.test.horizon, normalize=False
    )


def lstm(splits: SeriesSplits, data: str) -> keras.Model:
    """Return an LSTM of all channels and a map of its last state."""
    inputs = keras.Input(splits.input_shape)
    horizon, channels = splits.test.horizon, len(splits.names)
    x = layers.Dense(horizon * channels)(layers.LSTM(64)(inputs))
    return keras.Model(inputs, layers.Reshape((horizon, channels))(x))


def patch_tst(splits: SeriesSplits, data: str) -> keras.Model:
    """Return a transformer of overlapping patches.

    Of width 16 with dropout 0.3 for the hourly sets, as published, and of width
    32, a quarter of what was published, with 0.2 for the others.
    """
    hourly = ROWS_OF_AN_HOUR[data] == 1
    width, rate = (16, 0.3) if hourly else (32, 0.2)
    time, channels = splits.input_shape
    return models.PatchTST(
        (time, channels), splits.test.horizon, width=width, dropout=rate
    )


def bp_transformer(
    splits: SeriesSplits,
    data: str,
    *,
    every_week: bool = False,
    start: dict | None = None,
    **arguments,
) -> keras.Model:
    """Return a BP-Transformer as the zoo's recipes have it.

    The linear skip sees the whole window, attention the last week, day by day.

    Args:
        splits: a series.
        data: its name.
        every_week: start the linear skip at the mean of the ridges of one
            week, of two, and so on, instead of those of half the window and of
            all.
        start: arguments of `start_at_ridge`, instead of the usual ones; with a
            penalty of 0 the linear skip starts anywhere.
        **arguments: of the builder, instead of the usual ones.
    """
    time, channels = splits.input_shape
    hour, train = ROWS_OF_AN_HOUR[data], splits.train
    week = WEEK * hour
    usual: dict[str, Any] = {
        "num_layers": 2,
        "width": 32 if hour == 1 else 64,
        "num_heads": 1,
        "patch_size": DAY * hour,
        "attention_lookback": week,
        "dropout": 0.3 if hour == 1 else 0.2,
    }
    model = models.BPTransformer(
        (time, channels),
        splits.test.horizon,
        head="forecasting",
        **usual | arguments,
    )
    weeks = range(week, time + 1, week)
    start = {
        "lookbacks": weeks if every_week else (time // 2, time),
        "memory": 4 * DAY * hour,
    } | (start or {})
    if start.get("penalty") != 0 and arguments.get("linear_skip", True):
        models.start_at_ridge(model, train.inputs, train.labels, **start)
    return model


def recurrent(splits: SeriesSplits, data: str) -> keras.Model:
    """Return an LSTM of normalized windows, with four days of gradients."""
    time, channels = splits.input_shape
    return models.Recurrent(
        (time, channels),
        splits.test.horizon,
        head="forecasting",
        truncation=4 * DAY * ROWS_OF_AN_HOUR[data],
        dropout=0.3,
    )


def mean_errors(
    predict: Callable, windows: Windows, every: int = 1
) -> tuple[float, float]:
    """Return the mean squared and the mean absolute error.

    Args:
        predict: `predict(inputs) -> forecasts`.
        windows: to forecast.
        every: 1 for all of them, or the distance between two.
    """
    squared = absolute = 0.0
    inputs, labels = windows.inputs[::every], windows.labels[::every]
    for begin in range(0, len(inputs), 256):  # bounds the memory
        part = slice(begin, begin + 256)
        gaps = predict(inputs[part]) - labels[part]
        squared += float(np.square(gaps, dtype="float64").sum())
        absolute += float(np.abs(gaps, dtype="float64").sum())
    return squared / labels.size, absolute / labels.size


_RATES = (3e-4, 1e-3)
_HIGHER = (*_RATES, 3e-3, 1e-2)  # what begins at random does best above


def _weeks(weeks, of_quarter_hours=()):
    """Return a function from a set's name to so many weeks, in rows."""

    def lookbacks(data):
        hour = ROWS_OF_AN_HOUR[data]
        mine = weeks if hour == 1 else of_quarter_hours or weeks
        return tuple(n * WEEK * hour for n in mine)

    return lookbacks


_OWN = _weeks((6,), (3,))
_LINEAR = _weeks((1, 2, 3, 6))
_ALL = Method.cases
_ABLATED = (("etth1", 96), ("ettm1", 96))


def _ours(
    rates=(0.0, *_RATES),
    lookbacks=_OWN,
    cases=_ABLATED,
    seeds=0,
    **arguments,
):
    return Method(
        build=functools.partial(bp_transformer, **arguments),
        untrained=functools.partial(bp_transformer, num_layers=0, **arguments),
        lookbacks=lookbacks,
        learning_rates=rates,
        ours=True,
        seeds=seeds,
        cases=cases,
    )


METHODS = {
    "BP-Transformer": _ours(cases=_ALL, seeds=5),
    "BP-Transformer, look-back chosen": _ours(
        lookbacks=_weeks((1, 2, 3, 6), (1, 2, 3)), cases=_ALL
    ),
    "BP-Transformer, mean of all weeks": _ours(cases=_ALL, every_week=True),
    "repeat last": Method(fit=repeat, lookbacks=lambda data: (1,)),
    "seasonal naive": Method(
        fit=repeat, lookbacks=lambda data: (DAY * ROWS_OF_AN_HOUR[data],)
    ),
    "ridge": Method(fit=ridge, lookbacks=_LINEAR),
    "DLinear": Method(build=dlinear, lookbacks=_LINEAR, learning_rates=_HIGHER),
    "LSTM": Method(
        build=lstm, lookbacks=lambda data: (96, 336), learning_rates=_HIGHER
    ),
    "Recurrent": Method(
        build=recurrent,
        learning_rates=_HIGHER[:3],
        ours=True,
        cases=tuple(("etth1", horizon) for horizon in HORIZONS),
    ),
    "PatchTST-like": Method(
        build=patch_tst,
        lookbacks=lambda data: (336, 512),
        learning_rates=_HIGHER[:3],
    ),
    "without attention": _ours((0.0,)),
    "with attention": _ours(_RATES),
    "without highway": _ours(_HIGHER[:3], linear_skip=False),
    "without normalization": _ours(normalize=False),
    "highway starts anywhere": _ours(_HIGHER[:3], start={"penalty": 0}),
    "highway trained on": _ours(_RATES, start={"trainable": True}),
    "highway of one look-back": _ours(start={"lookbacks": ()}),
    "highway of one penalty for all ages": _ours(start={"memory": np.inf}),
    "attention to the whole window": _ours(_RATES, attention_lookback=None),
}
