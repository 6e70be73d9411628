"""What covariates add to a forecast, and the statistics that they need."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp._utils.arguments import check_integer
from kbp._utils.types import Tensor
from kbp.layers import Standardization, WindowSlice

# Names of the layers that hold statistics, by what they standardize.
FUTURE, PAST = "future_standardize", "past_standardize"


def window_length(
    input_shape: tuple[int, int],
    horizon: int,
    num_targets: int | None,
    num_past: int,
    normalize: bool,
) -> int:
    """Return the rows of a window before the horizon.

    Args:
        input_shape: of the model.
        horizon: number of rows to forecast.
        num_targets: number of columns to forecast, `None` without covariates.
        num_past: how many covariates are not known in the horizon.
        normalize: whether forecasts are relative to the window.

    Raises:
        ValueError: covariates do not fit.
    """
    time, columns = input_shape
    if num_targets is None:
        return time
    check_integer(num_targets=num_targets)
    check_integer(0, num_past_covariates=num_past)
    least = num_targets + max(1, num_past)
    if time <= horizon or columns < least:
        raise ValueError(
            "Argument `input_shape` must be (time + num_outputs, num_targets "
            f"+ covariates), with {least} columns or more. "
            f"Received: input_shape={input_shape}"
        )
    if not normalize:
        raise ValueError(
            "Argument `normalize` must be true with covariates. "
            f"Received: normalize={normalize}"
        )
    return time - horizon


def with_covariates(
    inputs: Tensor,
    forecast: "partial[Tensor]",
    *,
    num_targets: int | None,
    num_past: int,
    **sizes: Any,
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the targets' window, and a forecast that covariates add to.

    Args:
        inputs: `(batch, time + horizon, targets + covariates)`.
        forecast: `forecast(x)` of normalized targets `(batch, targets, time)`,
            with keywords as of `covariate_terms`.
        num_targets: number of columns to forecast, `None` without covariates:
            then inputs and forecast are returned as they are.
        num_past: how many covariates are not known in the horizon.
        **sizes: `patch_size` and `width`, see `covariate_terms`.
    """
    if num_targets is None:
        return inputs, forecast
    given = ("horizon", "lookback", "dropout", "kernel")
    options = {key: forecast.keywords[key] for key in given}
    window = (0, inputs.shape[1] - options["horizon"])
    targets = WindowSlice(window, (0, num_targets), name="targets")(inputs)

    def extended(x: Tensor) -> Tensor:
        terms = covariate_terms(inputs, x, num_past, **sizes, **options)
        total = forecast(x)
        for number, term in enumerate(terms):  # 8-bit files add two by two
            total = layers.Add(name=f"sum{number}")([total, term])
        return total

    return targets, extended


def covariate_terms(
    inputs: Tensor,
    x: Tensor,
    num_past: int,
    *,
    horizon: int,
    lookback: int,
    patch_size: int,
    width: int,
    dropout: float,
    kernel: dict[str, Any],
) -> list[Tensor]:
    """Return what covariates add to each target's forecast.

    The known ones of each step of the horizon, `c`, meet what the target's
    window `z` tells of the target, with the same weights for all targets and
    steps. Those of the last `lookback` rows, patch by patch, add the same to
    the forecasts of all targets.

        y1 = v relu(A relu(B c + b) + C z + a)
        y2 = W [relu(D p_1 + d), ..., relu(D p_n + d)]

    Args:
        inputs: `(batch, time + horizon, targets + covariates)`.
        x: the normalized targets, `(batch, targets, time)`.
        num_past: how many covariates are not known in the horizon.
        horizon: number of rows to forecast.
        lookback: number of latest rows of which covariates count.
        patch_size: number of rows of a patch.
        width: number of hidden features.
        dropout: rate before the last layers.
        kernel: what layers with a kernel are made with.

    Returns:
        Tensors `(batch, targets or 1, horizon)`, zero before training.
    """
    num_targets = x.shape[1]
    _, rows, columns = inputs.shape
    time = rows - horizon
    dense = partial(_dense, width, kernel)
    last = partial(_last, dropout=dropout, kernel=kernel)
    terms = []
    if (first := num_targets + num_past) < columns:
        known = WindowSlice((time, rows), (first, columns), name="future")
        c = Standardization(name=FUTURE)(known(inputs))
        c = dense("future_dense", activation="relu")(c)
        c = dense("future_hidden")(c)
        z = dense("target_hidden", use_bias=False)(x)
        hidden = layers.Add(name="future_sum")(
            [
                layers.Reshape((1, horizon, width), name="by_step")(c),
                layers.Reshape((num_targets, 1, width), name="by_target")(z),
            ]
        )  # (batch, targets, horizon, width)
        hidden = layers.ReLU(name="future_relu")(hidden)
        terms.append(
            ops.reshape(last(hidden, 1, "future"), (-1, num_targets, horizon))
        )
    seen = WindowSlice(
        (time - lookback, time), (num_targets, columns), name="past"
    )
    p = Standardization(name=PAST)(seen(inputs))
    shape = (lookback // patch_size, patch_size * (columns - num_targets))
    p = layers.Reshape(shape, name="past_patches")(p)
    p = dense("past_dense", activation="relu")(p)
    p = layers.Flatten(name="past_flatten")(p)
    p = last(p, horizon, "past")
    terms.append(layers.Reshape((1, horizon), name="past_by_target")(p))
    return terms


def _dense(
    width: int, kernel: dict[str, Any], name: str, **options: Any
) -> layers.Layer:
    return layers.Dense(width, name=name, **kernel, **options)


def _last(
    x: Tensor, units: int, name: str, dropout: float, kernel: dict[str, Any]
) -> Tensor:
    """Return a layer whose kernel is zero at first."""
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(
        units,
        use_bias=False,
        name=f"{name}_forecast",
        **kernel | {"kernel_initializer": "zeros"},
    )(x)


def standardize_covariates(
    model: keras.Model, mean: np.ndarray, scale: np.ndarray
) -> None:
    """Give a forecasting model the statistics of its covariates.

    Args:
        model: a model of `BPTransformer` with covariates.
        mean: of each covariate in the training rows, `(covariates,)`.
        scale: what to divide by, its standard deviation, more than 0.

    Raises:
        ValueError: the model has other covariates, or a scale is not positive.

    Example:
    >>> import numpy as np, kbp
    >>> model = kbp.models.BPTransformer(
    ...     (16 + 8, 1 + 2), 8, head="forecasting", num_targets=1
    ... )
    >>> mean, scale = np.array([20.0, 0.5]), np.array([8.0, 0.5])
    >>> kbp.models.standardize_covariates(model, mean, scale)
    """
    if not (np.asarray(scale) > 0).all():
        raise ValueError(
            f"Argument `scale` must be positive. Received: scale={scale}"
        )
    found = [x for x in model.layers if isinstance(x, Standardization)]
    if not found or max(x.mean.shape[0] for x in found) != len(mean):
        raise ValueError(
            f"Model {model.name} does not have {len(mean)} covariates."
        )
    for layer in found:
        # Covariates that are known ahead are the last ones.
        count = layer.mean.shape[0]
        layer.set_weights([mean[-count:], scale[-count:]])
