"""BP-Transformer: self-attention in a feed-forward network."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from kbp._utils.arguments import (
    check_heads,
    check_integer,
    check_one_of,
    check_rate,
    check_sequence,
)
from kbp._utils.types import Tensor
from kbp.layers import (
    PositionEmbedding,
    SelfAttention,
    WindowNormalization,
    WindowStatistics,
)
from kbp.layers.composite import GLOROT
from kbp.models.linear.covariates import window_length, with_covariates
from kbp.models.registry import register_model
from kbp.models.regularization import depth_rates, kernel_options

LINEAR_SKIP = "linear_skip"
_Attend = Callable[..., Tensor]  # `_attend`, but for `x` and `dropout`


@register_model("bp_transformer", by_channel=True)
def BPTransformer(
    input_shape: tuple[int, int],
    num_outputs: int,
    *,
    head: str = "classification",
    num_layers: int = 2,
    width: int = 64,
    num_heads: int = 4,
    patch_size: int = 1,
    attention_lookback: int | None = None,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    normalize: bool = True,
    linear_skip: bool = True,
    num_targets: int | None = None,
    num_past_covariates: int = 0,
    name: str = "bp_transformer",
) -> keras.Model:
    """Build a BP-Transformer, which classifies or forecasts sequences.

    Each feed-forward layer is followed by self-attention with a residual
    connection:

        a'(l) = relu(W a(l-1) + b)
        a(l)  = MultiHead(W_Q a', W_K a', W_V a') + a'

    The first layer also adds a learnable position embedding. There is no
    LayerNormalization, which 8-bit files hold in float.

    To classify, the head averages over time. To forecast, each channel is a
    sequence of its own, with the same weights for all of them. The forecast of
    its window `x` is a linear map of the window plus one of the attention:

        z = (x - mean(x)) / deviation(x)
        y = (z H + a(L) W) * deviation(x) + mean(x)

    The linear skip `H` sees the whole window: `start_at_ridge` gives it the
    best linear forecast. The attention's last kernel `W` is zero at first, so
    that training starts from the linear forecast. Level and scale come from
    the window itself, so a model takes any units and answers in them.

    With covariates, what is to be forecast is the first `num_targets` columns
    of the input, which then has a row for each step of the horizon too, where
    they are zero. The covariates, in units of their own, add terms to the sum
    above that are zero at first: see `kbp.models.linear.covariates`. All
    weights are shared by the targets still.

    Args:
        input_shape: `(time, features)`, both fixed; with covariates
            `(time + num_outputs, num_targets + covariates)`.
        num_outputs: number of classes, two or more; or time steps to forecast.
        head: `"classification"`, or `"forecasting"`.
        num_layers: number of feed-forward layers with attention; a forecast
            with 0 is the linear skip alone.
        width: number of hidden features; divisible by `num_heads`.
        num_heads: number of heads of each attention layer.
        patch_size: number of time steps that form one position of the
            sequence.
        attention_lookback: number of latest time steps that attention sees in
            a forecast, a multiple of `patch_size`; by default the whole
            window, which the linear skip sees in any case.
        dropout: rate in [0, 1) before the last layer, and in a forecast also
            after each feed-forward layer.
        stochastic_depth: rate in [0, 1) at which the last attention is dropped
            in training, of each sequence for itself, those before it less, see
            `depth_rates`.
        l2: factor of the squares of all kernels in the loss, but for the linear
            skip's, of which `ridge` has a penalty.
        initializer: of the kernels that do not begin at zero, such as
            `"he_normal"`, as Keras names them.
        normalize: whether forecasts are relative to the window's level and
            scale.
        linear_skip: whether the forecast has the linear skip.
        num_targets: number of columns to forecast, if the others are
            covariates.
        num_past_covariates: how many of these, the first ones, are known of
            the past alone.
        name: the model's name.

    Returns:
        A functional model `(batch, time, features)` to logits
        `(batch, num_outputs)`, or to forecasts
        `(batch, num_outputs, features)`, with covariates
        `(batch, num_outputs, num_targets)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.BPTransformer((32, 32), 10, width=32)
    >>> model.output_shape
    (None, 10)
    >>> model = kbp.models.BPTransformer(
    ...     (336, 7), 96, head="forecasting", patch_size=24
    ... )
    >>> model.output_shape
    (None, 96, 7)

    Reference:
        Patches and channels of their own: Nie et al., A Time Series is Worth 64
        Words, ICLR 2023. A linear map of the window: Zeng et al., Are
        Transformers Effective for Time Series Forecasting?, AAAI 2023.
    """
    classifies = _classifies(head, num_outputs, num_layers, linear_skip)
    _check_sizes(input_shape, width, num_heads, patch_size)
    time = window_length(
        input_shape, num_outputs, num_targets, num_past_covariates, normalize
    )
    lookback = _lookback(attention_lookback, time, patch_size)
    _check_learned(num_layers or num_targets, dropout, l2, initializer)
    kernel = kernel_options(initializer, l2)
    attend = functools.partial(
        _attend,
        patch_size=patch_size,
        depth_rates=depth_rates(stochastic_depth, num_layers),
        width=width,
        num_heads=num_heads,
        kernel=kernel,
    )
    inputs = keras.Input(input_shape, name="sequence")
    if classifies:
        _check_unused(normalize, linear_skip, attention_lookback, num_targets)
        outputs = _classify(inputs, attend, num_outputs, dropout, kernel)
    else:
        forecast = functools.partial(
            _forecast,
            attend=attend if num_layers else None,
            lookback=lookback,
            horizon=num_outputs,
            dropout=dropout,
            linear_skip=linear_skip,
            kernel=kernel,
        )
        outputs = _by_channel(
            inputs,
            forecast,
            normalize,
            num_targets=num_targets,
            num_past=num_past_covariates,
            patch_size=patch_size,
            width=width,
        )
    return keras.Model(inputs, outputs, name=name)


def _classify(
    x: Tensor,
    attend: _Attend,
    num_classes: int,
    dropout: float,
    kernel: dict[str, Any],
) -> Tensor:
    x = attend(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = _drop(x, dropout, "dropout")
    return layers.Dense(num_classes, name="logits", **kernel)(x)


def _by_channel(
    inputs: Tensor,
    forecast: "functools.partial[Tensor]",
    normalize: bool,
    **covariates: Any,
) -> Tensor:
    """Forecast `(batch, channels, time)`; return `(batch, horizon, channels)`.

    The window's level and scale are removed before and restored after.
    """
    inputs, forecast_of = with_covariates(inputs, forecast, **covariates)
    if normalize:
        statistics = WindowStatistics(name="statistics")(inputs)
        x = WindowNormalization(name="normalize")(inputs, statistics)
        restore = WindowNormalization(invert=True, name="restore")
        return restore(forecast_of(x), statistics)
    x = layers.Permute((2, 1), name="by_channel")(inputs)
    return layers.Permute((2, 1), name="by_time")(forecast_of(x))


def _forecast(
    x: Tensor,
    *,
    attend: _Attend | None,
    lookback: int,
    horizon: int,
    dropout: float,
    linear_skip: bool,
    kernel: dict[str, Any],
) -> Tensor:
    """Continue each channel by itself, `(batch, channels, time)`."""
    channels = x.shape[1]
    terms = []
    if linear_skip:
        terms.append(layers.Dense(horizon, use_bias=False, name=LINEAR_SKIP)(x))
    if attend:
        if lookback < x.shape[-1]:
            x = x[:, :, -lookback:]
        x = ops.reshape(x, (-1, lookback, 1))  # (batch * channels, time, 1)
        x = attend(x, dropout=dropout)
        x = layers.Flatten(name="flatten")(x)
        x = _drop(x, dropout, "dropout")
        zeros = kernel | {"kernel_initializer": "zeros"}
        dense = layers.Dense(horizon, name="forecast", **zeros)
        terms.append(ops.reshape(dense(x), (-1, channels, horizon)))
    return layers.Add(name="sum")(terms) if len(terms) > 1 else terms[0]


def _attend(
    x: Tensor,
    *,
    patch_size: int,
    depth_rates: Sequence[float],
    width: int,
    num_heads: int,
    kernel: dict[str, Any],
    dropout: float = 0.0,
) -> Tensor:
    """Return the last layer of attention, `(batch, positions, width)`."""
    _, time, features = x.shape
    if patch_size > 1:
        shape = (time // patch_size, patch_size * features)
        x = layers.Reshape(shape, name="patches")(x)
    for layer, rate in enumerate(depth_rates):
        x = layers.Dense(
            width, activation="relu", name=f"layer{layer}_dense", **kernel
        )(x)
        if layer == 0:
            x = PositionEmbedding(name="position")(x)
        x = _drop(x, dropout, f"layer{layer}_dropout")
        x = SelfAttention(
            num_heads,
            stochastic_depth=rate,
            name=f"layer{layer}_attention",
            **kernel,
        )(x)
    return x


def _drop(x: Tensor, rate: float, name: str) -> Tensor:
    return layers.Dropout(rate, name=name)(x) if rate else x


def _check_unused(
    normalize: bool,
    linear_skip: bool,
    attention_lookback: int | None,
    num_targets: int | None,
) -> None:
    """Refuse arguments that change nothing in a classifier."""
    given = (attention_lookback, num_targets)
    if not (normalize and linear_skip and given == (None, None)):
        raise ValueError(
            "Arguments `normalize`, `linear_skip`, `attention_lookback` and "
            "`num_targets` are for head='forecasting'. Received: "
            f"normalize={normalize}, linear_skip={linear_skip}, "
            f"attention_lookback={attention_lookback}, "
            f"num_targets={num_targets}"
        )


def _check_learned(
    learns: int | None, dropout: float, l2: float, initializer: str
) -> None:
    """Refuse rates out of range, and what changes no linear skip alone."""
    check_rate(dropout=dropout)
    if not learns and (dropout or l2 or initializer != GLOROT):
        raise ValueError(
            "Arguments `dropout`, `l2` and `initializer` have no effect with "
            "num_layers=0: the linear skip begins as a ridge regression, which "
            f"has a penalty of its own. Received: dropout={dropout}, l2={l2}, "
            f"initializer={initializer!r}"
        )


def _classifies(
    head: str, num_outputs: int, num_layers: int, linear_skip: bool
) -> bool:
    """Say whether the head is for classes, once the numbers fit it."""
    check_one_of(("classification", "forecasting"), head=head)
    classifies = head == "classification"
    check_integer(1 + classifies, num_outputs=num_outputs)
    check_integer(int(classifies or not linear_skip), num_layers=num_layers)
    return classifies


def _check_sizes(
    input_shape: tuple[int, int], width: int, num_heads: int, patch_size: int
) -> None:
    check_integer(num_heads=num_heads, width=width, patch_size=patch_size)
    check_sequence(input_shape)
    check_heads(width, num_heads)


def _lookback(given: int | None, time: int, patch_size: int) -> int:
    """Return how many time steps attention sees."""
    if given is not None:
        check_integer(attention_lookback=given)
        if given > time:
            raise ValueError(
                "Argument `attention_lookback` must be at most the window's "
                f"{time} time steps. Received: attention_lookback={given}"
            )
    lookback = given or time
    if lookback % patch_size:
        raise ValueError(
            "Argument `patch_size` must divide the time steps that attention "
            f"sees, {lookback}. Received: patch_size={patch_size}"
        )
    return lookback
