"""Recurrent networks, trained by truncated backpropagation if asked."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from kbp._utils.arguments import (
    check_integer,
    check_one_of,
    check_rate,
    check_sequence,
)
from kbp._utils.types import Tensor
from kbp.layers import TruncatedRNN, WindowNormalization, WindowStatistics
from kbp.layers.recurrent.modes import MODES
from kbp.models.registry import register_model
from kbp.models.regularization import kernel_options

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


@register_model("recurrent")
def Recurrent(
    input_shape: tuple[int, int],
    num_outputs: int,
    *,
    head: str = "classification",
    cell: str = "lstm",
    width: int = 64,
    num_layers: int = 1,
    truncation: int | None = None,
    truncation_mode: str = "blocks",
    streams: int | None = None,
    dropout: float = 0.0,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    normalize: bool = True,
    name: str = "recurrent",
) -> keras.Model:
    """Build a recurrent network, which classifies or forecasts sequences.

        h(l)_t = cell(h(l-1)_t, h(l)_t-1),    h(0) = x
        y      = W h(num_layers)_T + b

    To forecast, all channels of a window are read together, relative to its
    level and scale, which are restored behind the last layer: a model takes
    any units and answers in them.

    Args:
        input_shape: `(time, features)`, both fixed.
        num_outputs: number of classes, two or more; or time steps to forecast.
        head: `"classification"` or `"forecasting"`.
        cell: `"lstm"`, `"gru"` or `"simple"`.
        width: units of each layer.
        num_layers: number of recurrent layers.
        truncation: time steps that gradients go back through, at most those of
            the window; by default all of them. See
            `kbp.layers.TruncatedRNN`.
        truncation_mode: `"blocks"`, `"sliding"` or `"randomized"`.
        streams: the size of the training batches, if states are to go on from
            batch to batch; by default each example begins anew.
        dropout: rate in [0, 1) behind each recurrent layer.
        l2: factor of the squares of all kernels in the loss.
        initializer: of the kernels, such as `"he_normal"`, as Keras names them;
            recurrent kernels begin orthogonal.
        normalize: whether forecasts are relative to the window's level and
            scale.
        name: the model's name.

    Returns:
        A functional model `(batch, time, features)` to logits
        `(batch, num_outputs)`, or to forecasts
        `(batch, num_outputs, features)`.

    Raises:
        ValueError: an argument is out of range, or has no effect.

    Reference:
        Hochreiter and Schmidhuber, Long Short-Term Memory, 1997.

    Example:
    >>> import kbp
    >>> model = kbp.models.Recurrent(
    ...     (336, 7), 96, head="forecasting", width=32, truncation=48
    ... )
    >>> model.output_shape
    (None, 96, 7)
    """
    classifies = head == "classification"
    check_one_of(("classification", "forecasting"), head=head)
    check_one_of(tuple(CELLS), cell=cell)
    check_one_of(tuple(MODES), truncation_mode=truncation_mode)
    check_integer(1 + classifies, num_outputs=num_outputs)
    check_integer(width=width, num_layers=num_layers)
    check_rate(dropout=dropout)
    _check(input_shape, truncation, truncation_mode)
    forecasting = {"normalize": not normalize, "streams": streams is not None}
    for key, given in forecasting.items():
        if classifies and given:
            raise ValueError(
                f"Argument `{key}` is for head='forecasting'. Received: "
                f"head={head!r}"
            )
    kernel = kernel_options(initializer, l2)

    def read(x: Tensor) -> Tensor:
        for number in range(num_layers):
            layer = CELLS[cell](
                width,
                return_sequences=number < num_layers - 1,
                recurrent_regularizer=kernel["kernel_regularizer"],
                name=f"layer{number}",
                **kernel,
            )
            if truncation is not None or streams is not None:
                layer = TruncatedRNN(
                    layer,
                    truncation,
                    mode=truncation_mode,
                    streams=streams,
                    name=f"layer{number}_truncated",
                )
            x = layer(x)
            if dropout:
                x = layers.Dropout(dropout, name=f"layer{number}_dropout")(x)
        return x

    inputs = keras.Input(input_shape, name="sequence")
    if classifies:
        logits = layers.Dense(num_outputs, name="logits", **kernel)
        return keras.Model(inputs, logits(read(inputs)), name=name)
    outputs = _forecast(inputs, read, num_outputs, normalize, kernel)
    return keras.Model(inputs, outputs, name=name)


def _forecast(
    inputs: Tensor,
    read: Callable[[Tensor], Tensor],
    horizon: int,
    normalize: bool,
    kernel: dict[str, Any],
) -> Tensor:
    """Forecast all channels of a window, `(batch, horizon, channels)`."""
    channels, x = inputs.shape[-1], inputs
    if normalize:
        statistics = WindowStatistics(name="statistics")(inputs)
        x = WindowNormalization(name="normalize")(inputs, statistics)
        x = layers.Permute((2, 1), name="by_time")(x)
    x = layers.Dense(channels * horizon, name="forecast", **kernel)(read(x))
    x = layers.Reshape((channels, horizon), name="by_channel")(x)
    if normalize:
        restore = WindowNormalization(invert=True, name="restore")
        return restore(x, statistics)
    return layers.Permute((2, 1), name="by_step")(x)


def _check(
    input_shape: tuple[int, int],
    truncation: int | None,
    mode: str,
) -> None:
    """Refuse what does not fit, or changes nothing."""
    check_sequence(input_shape)
    if truncation is None and mode != "blocks":
        raise ValueError(
            "Argument `truncation_mode` has no effect without `truncation`. "
            f"Received: truncation_mode={mode!r}"
        )
    if truncation is not None:
        check_integer(truncation=truncation)
        if truncation > input_shape[0]:
            raise ValueError(
                "Argument `truncation` must be at most the window's "
                f"{input_shape[0]} time steps. Received: "
                f"truncation={truncation}"
            )
