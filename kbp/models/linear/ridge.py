"""Linear forecasts by ridge regression, in closed form."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.arguments import check_penalty
from kbp.models.linear.skip import linear_skip_of, start_at_kernel


def start_at_ridge(
    model: keras.Model,
    inputs: Any,
    labels: Any,
    *,
    lookbacks: Sequence[int] = (),
    penalty: float = 1.0,
    memory: float = 96.0,
    trainable: bool = False,
) -> None:
    """Set the linear skip of a forecasting model to the kernel of `ridge`.

    With several look-backs the kernel is that of the mean of their forecasts,
    which is linear too: a short look-back is estimated better, a long one
    knows more.

    Args:
        model: a model of `BPTransformer`, with a linear skip.
        inputs: training windows `(windows, time, channels)`, an array or what
            gives one for a slice, as `labels`.
        labels: the values that follow them, `(windows, horizon, channels)`.
        lookbacks: look-backs of the ridge regressions, in time steps; by
            default the whole window.
        penalty: penalty of `ridge`.
        memory: memory of `ridge`, in time steps.
        trainable: whether the kernel trains further; by default the rest of
            the model learns what the linear forecast leaves.

    Raises:
        ValueError: the model has no linear skip, or an argument is out of
            range.

    Example:
    >>> import numpy as np, kbp
    >>> series = np.sin(np.arange(200) / 5).astype("float32")
    >>> windows = np.lib.stride_tricks.sliding_window_view(series, 24)
    >>> inputs, labels = windows[:, :16, None], windows[:, 16:, None]
    >>> model = kbp.models.BPTransformer((16, 1), 8, head="forecasting")
    >>> kbp.models.start_at_ridge(model, inputs, labels, penalty=1e-6)
    >>> error = np.abs(model.predict(inputs, verbose=0) - labels).max()
    >>> bool(error < 0.01)
    True
    """
    linear_skip_of(model)  # before the sums, which take their time
    kernel = mean_ridge(
        inputs, labels, lookbacks=lookbacks, penalty=penalty, memory=memory
    )
    start_at_kernel(model, kernel, trainable=trainable)


def mean_ridge(
    inputs: Any,
    labels: Any,
    *,
    lookbacks: Sequence[int] = (),
    penalty: float = 1.0,
    memory: float = 96.0,
) -> np.ndarray:
    """Return the kernel of the mean of several ridge regressions' forecasts.

    Args:
        inputs: windows `(windows, time, channels)`, see `start_at_ridge`.
        labels: the values that follow, `(windows, horizon, channels)`.
        lookbacks: of the regressions, in time steps; by default the whole
            window.
        penalty: of `ridge`.
        memory: of `ridge`, in time steps.

    Returns:
        A kernel `(time, horizon)` whose columns sum to 1, so that
        `window @ kernel` is the forecast.

    Raises:
        ValueError: an argument is out of range, or there are no windows.

    Example:
    >>> import numpy as np, kbp
    >>> windows = np.random.default_rng(0).random((100, 12, 3), "float32")
    >>> kernel = kbp.models.mean_ridge(
    ...     windows[:, :8], windows[:, 8:], lookbacks=(4, 8)
    ... )
    >>> kernel.shape
    (8, 4)
    """
    time = inputs.shape[1]
    lookbacks = lookbacks or (time,)
    if not all(0 < lookback <= time for lookback in lookbacks):
        raise ValueError(
            f"Argument `lookbacks` must be whole numbers, 1 to {time}. "
            f"Received: lookbacks={lookbacks}"
        )
    kernels = [
        _lengthened(
            ridge(inputs, labels, lookback=n, penalty=penalty, memory=memory),
            time,
        )
        for n in lookbacks
    ]
    return np.mean(kernels, axis=0)


def _lengthened(kernel: np.ndarray, time: int) -> np.ndarray:
    """Return the kernel of a longer window with the same forecasts.

    A kernel maps a window to a forecast relative to the window's mean, and the
    longer window has another mean.
    """
    lookback = len(kernel)
    own_mean = (1 - kernel.sum(axis=0)) / lookback
    return np.pad(kernel + own_mean, ((time - lookback, 0), (0, 0)))


def ridge(
    inputs: Any,
    labels: Any,
    *,
    lookback: int | None = None,
    penalty: float = 1.0,
    memory: float = np.inf,
) -> np.ndarray:
    """Return the linear map of windows with the least squared error.

    Windows are taken relative to their means, and all channels are examples of
    one map `H`, `(time, horizon)`:

        min mean((z H - y)^2) + penalty * v * mean_j(p_j h_j^2)

    with `z` and `y` less the mean of `z`, its variance `v`, and the penalty
    `p_j = 1 + age_j / memory`, scaled to a mean of 1: early time steps get
    smaller coefficients unless the data support them.

    Args:
        inputs: windows `(windows, time, channels)`, see `start_at_ridge`.
        labels: the values that follow, `(windows, horizon, channels)`.
        lookback: time steps at the windows' ends that count; by default all.
        penalty: factor of the windows' variance; more than 0.
        memory: number of time steps after which the penalty has doubled;
            infinite for equal penalties.

    Returns:
        The kernel `H`, float32.

    Raises:
        ValueError: an argument is out of range, or there are no windows.

    Example:
    >>> import numpy as np, kbp
    >>> windows = np.random.default_rng(0).random((100, 12, 3), "float32")
    >>> kbp.models.ridge(windows[:, :8], windows[:, 8:]).shape
    (8, 4)

    Reference:
        Hoerl and Kennard, Ridge Regression, 1970; Toner and Darlow, An Analysis
        of Linear Time Series Forecasting Models, ICML 2024.
    """
    (kernel,) = ridges(
        inputs, labels, (penalty,), lookback=lookback, memory=memory
    )
    return kernel


def ridges(
    inputs: Any,
    labels: Any,
    penalties: Sequence[float],
    *,
    lookback: int | None = None,
    memory: float = np.inf,
) -> list[np.ndarray]:
    """Return the kernel of `ridge` for each penalty, from sums made once."""
    for penalty in penalties:
        check_penalty(penalty=penalty)
        if not penalty or not memory > 0:
            raise ValueError(
                "Arguments `penalty` and `memory` must be positive. Received: "
                f"penalty={penalty}, memory={memory}"
            )
    if not len(inputs):
        raise ValueError("Argument `inputs` must hold at least one window.")
    time, horizon = lookback or inputs.shape[1], labels.shape[1]
    gram, cross = np.zeros((time, time)), np.zeros((time, horizon))
    for start in range(0, len(inputs), 512):  # bounds the memory
        part = slice(start, start + 512)
        windows, follow = inputs[part][:, -time:], labels[part]
        mean = windows.mean(axis=1, keepdims=True)
        x, y = (
            np.moveaxis(array - mean, 1, -1).reshape(-1, array.shape[1])
            for array in (windows, follow)
        )
        gram += x.T @ x
        cross += x.T @ y
    ages = 1 + np.arange(time)[::-1] / memory
    variance = np.trace(gram) / time / ages.mean()
    return [
        np.linalg.solve(
            gram + penalty * variance * np.diag(ages), cross
        ).astype("float32")
        for penalty in penalties
    ]
