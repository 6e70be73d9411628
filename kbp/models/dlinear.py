"""DLinear: a forecast by two linear maps, of the trend and of the rest."""

import keras
from keras import layers, ops

from kbp._utils.arguments import check_integer, check_one_of, check_sequence
from kbp._utils.types import Tensor
from kbp.layers import WindowNormalization, WindowStatistics
from kbp.models.registry import register_model
from kbp.models.regularization import kernel_options


@register_model("dlinear", by_channel=True)
def DLinear(
    input_shape: tuple[int, int],
    num_outputs: int,
    *,
    head: str = "forecasting",
    kernel_size: int = 25,
    normalize: bool = True,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    name: str = "dlinear",
) -> keras.Model:
    """Build a DLinear, which forecasts series channel by channel.

        trend = moving average of x
        y     = W trend + b + W' (x - trend) + b'

    All channels share the weights. At the window's ends its first and last
    values are repeated for the average.

    Args:
        input_shape: `(time, features)`, both fixed.
        num_outputs: time steps to forecast.
        head: `"forecasting"`.
        kernel_size: odd number of time steps of the moving average.
        normalize: whether forecasts are relative to the window's level and
            scale, in any units; the published model is without that.
        l2: factor of the squares of both kernels in the loss.
        initializer: of both kernels, such as `"he_normal"`, as Keras names
            them.
        name: the model's name.

    Returns:
        A functional model `(batch, time, features)` to forecasts
        `(batch, num_outputs, features)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.DLinear((336, 7), 96)
    >>> model.output_shape
    (None, 96, 7)

    Reference:
        Zeng et al., Are Transformers Effective for Time Series Forecasting?,
        AAAI 2023.
    """
    check_one_of(("forecasting",), head=head)
    check_integer(num_outputs=num_outputs, kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            "Argument `kernel_size` must be odd. "
            f"Received: kernel_size={kernel_size}"
        )
    check_sequence(input_shape)
    kernel = kernel_options(initializer, l2)
    inputs = keras.Input(input_shape, name="sequence")
    if normalize:
        statistics = WindowStatistics(name="statistics")(inputs)
        # (batch, channels, time)
        x = WindowNormalization(name="normalize")(inputs, statistics)
        by_time = layers.Permute((2, 1), name="by_time")(x)
    else:
        x = layers.Permute((2, 1), name="turn")(inputs)
        by_time = inputs
    trend = layers.AveragePooling1D(kernel_size, strides=1, name="trend")(
        _extended(by_time, kernel_size // 2)
    )
    trend = layers.Permute((2, 1), name="by_channel")(trend)
    rest = layers.Subtract(name="rest")([x, trend])
    terms = [
        layers.Dense(num_outputs, name=f"{term}_forecast", **kernel)(part)
        for term, part in (("trend", trend), ("rest", rest))
    ]
    x = layers.Add(name="sum")(terms)  # (batch, channels, horizon)
    if normalize:
        restore = WindowNormalization(invert=True, name="restore")
        outputs = restore(x, statistics)
    else:
        outputs = layers.Permute((2, 1), name="by_step")(x)
    return keras.Model(inputs, outputs, name=name)


def _extended(x: Tensor, steps: int) -> Tensor:
    """Repeat the first and the last time step, so often each."""
    if not steps:
        return x
    first, last = _repeated(x[:, :1], steps), _repeated(x[:, -1:], steps)
    return ops.concatenate([first, x, last], axis=1)


def _repeated(x: Tensor, count: int) -> Tensor:
    """Repeat a time step by doubling: TFLite Micro joins at most ten."""
    if count == 1:
        return x
    half = _repeated(x, count // 2)
    return ops.concatenate([half, half, *[x] * (count % 2)], axis=1)
