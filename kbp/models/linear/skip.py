"""Linear forecasts that the linear skip of a model can start at."""

import keras
import numpy as np

from kbp._utils.arguments import check_integer
from kbp.models.bp_transformer import LINEAR_SKIP


def start_at_kernel(
    model: keras.Model, kernel: np.ndarray, *, trainable: bool = False
) -> None:
    """Set the linear skip of a forecasting model to a kernel.

    Args:
        model: a model of `BPTransformer`, with a linear skip.
        kernel: `(time, horizon)`. Where its columns sum to 1, the model, which
            forecasts relative to the window's mean, starts at the forecast
            `window @ kernel`.
        trainable: whether the kernel trains further; by default the rest of
            the model learns what the linear forecast leaves.

    Raises:
        ValueError: the model has no linear skip.

    Example:
    >>> import numpy as np, kbp
    >>> model = kbp.models.BPTransformer((16, 1), 8, head="forecasting")
    >>> kernel = kbp.models.naive_kernel(16, 8, season=4)
    >>> kbp.models.start_at_kernel(model, kernel)
    >>> wave = np.tile([1.0, 2.0, 3.0, 2.0], 4)[None, :, None]
    >>> model.predict(wave, verbose=0).ravel().round(3)
    array([1., 2., 3., 2., 1., 2., 3., 2.], dtype=float32)
    """
    linear_skip = linear_skip_of(model)
    linear_skip.kernel.assign(kernel)
    linear_skip.trainable = trainable


def linear_skip_of(model: keras.Model) -> keras.layers.Layer:
    """Return the layer that is a model's linear skip.

    Raises:
        ValueError: the model has none.
    """
    if LINEAR_SKIP not in {layer.name for layer in model.layers}:
        raise ValueError(f"Model {model.name} has no linear skip.")
    return model.get_layer(LINEAR_SKIP)


def naive_kernel(time: int, horizon: int, *, season: int = 1) -> np.ndarray:
    """Return the linear map of a window to its seasonal naive forecast.

    The forecast repeats the window's last season; with a season of 1 it is the
    last value.

    Args:
        time: time steps of the window.
        horizon: time steps that are forecast.
        season: time steps that are repeated, up to `time`.

    Returns:
        A kernel of zeros and ones, `(time, horizon)`, float32.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> kbp.models.naive_kernel(3, 4, season=2)
    array([[0., 0., 0., 0.],
           [1., 0., 1., 0.],
           [0., 1., 0., 1.]], dtype=float32)
    """
    check_integer(time=time, horizon=horizon, season=season)
    if season > time:
        raise ValueError(
            f"Argument `season` must be at most the window's {time} time "
            f"steps. Received: season={season}"
        )
    kernel = np.zeros((time, horizon), "float32")
    steps = np.arange(horizon)
    kernel[time - season + steps % season, steps] = 1
    return kernel
