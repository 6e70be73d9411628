"""PatchTST: a transformer of overlapping patches, channel by channel."""

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
from kbp.layers import WindowNormalization, WindowStatistics
from kbp.models.registry import register_model
from kbp.models.regularization import kernel_options


@register_model("patch_tst", by_channel=True, in_float=True)
def PatchTST(
    input_shape: tuple[int, int],
    num_outputs: int,
    *,
    head: str = "forecasting",
    num_layers: int = 3,
    width: int = 16,
    num_heads: int = 4,
    feedforward: int = 128,
    patch_size: int = 16,
    stride: int = 8,
    dropout: float = 0.3,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    name: str = "patch_tst",
) -> keras.Model:
    """Build a PatchTST, which forecasts series channel by channel.

        z = (x - mean(x)) / deviation(x)
        a = W patches(z) + positions
        a' = norm(a + attention(a))
        a = norm(a' + W2 gelu(W1 a')),    num_layers times
        y = (W a) * deviation(x) + mean(x)

    All channels share the weights. LayerNormalization keeps it in float;
    `BPTransformer` is the network for eight bits.

    Args:
        input_shape: `(time, features)`, both fixed.
        num_outputs: time steps to forecast.
        head: `"forecasting"`.
        num_layers: number of layers of attention.
        width: number of hidden features; divisible by `num_heads`.
        num_heads: number of heads of each attention.
        feedforward: hidden features between two of attention.
        patch_size: time steps of a patch.
        stride: time steps between the beginnings of two patches.
        dropout: rate in [0, 1), of branches and before the last layer.
        l2: factor of the squares of all kernels in the loss.
        initializer: of the kernels, such as `"he_normal"`, as Keras names them.
        name: the model's name.

    Returns:
        A functional model `(batch, time, features)` to forecasts
        `(batch, num_outputs, features)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.PatchTST((336, 7), 96, num_layers=1)
    >>> model.output_shape
    (None, 96, 7)

    Reference:
        Nie et al., A Time Series is Worth 64 Words, ICLR 2023, with
        LayerNormalization in place of BatchNormalization.
    """
    check_one_of(("forecasting",), head=head)
    check_integer(
        num_outputs=num_outputs,
        num_layers=num_layers,
        num_heads=num_heads,
        width=width,
        feedforward=feedforward,
        patch_size=patch_size,
        stride=stride,
    )
    check_rate(dropout=dropout)
    check_sequence(input_shape)
    _check_patches(input_shape[0], patch_size)
    check_heads(width, num_heads)
    kernel = kernel_options(initializer, l2)
    time, channels = input_shape

    def drop(x: Tensor, name: str) -> Tensor:
        return layers.Dropout(dropout, name=name)(x) if dropout else x

    inputs = keras.Input(input_shape, name="sequence")
    statistics = WindowStatistics(name="statistics")(inputs)
    x = WindowNormalization(name="normalize")(inputs, statistics)
    x = ops.reshape(x, (-1, time, 1))  # (batch * channels, time, 1)
    x = layers.Conv1D(width, patch_size, stride, name="patches", **kernel)(x)
    positions = x.shape[1]
    embedding = layers.Embedding(positions, width, name="position")
    x = drop(x + embedding(ops.arange(positions)[None]), "dropout")
    for number in range(num_layers):
        part = f"layer{number}"
        attention = layers.MultiHeadAttention(
            num_heads, width // num_heads, name=f"{part}_attention", **kernel
        )
        y = drop(attention(x, x), f"{part}_attention_dropout")
        x = layers.LayerNormalization(name=f"{part}_first_norm")(x + y)
        y = layers.Dense(
            feedforward, activation="gelu", name=f"{part}_wide", **kernel
        )(x)
        y = layers.Dense(width, name=f"{part}_narrow", **kernel)(y)
        y = drop(y, f"{part}_dropout")
        x = layers.LayerNormalization(name=f"{part}_second_norm")(x + y)
    x = drop(layers.Flatten(name="flatten")(x), "forecast_dropout")
    x = layers.Dense(num_outputs, name="forecast", **kernel)(x)
    x = ops.reshape(x, (-1, channels, num_outputs))
    outputs = WindowNormalization(invert=True, name="restore")(x, statistics)
    return keras.Model(inputs, outputs, name=name)


def _check_patches(time: int, patch_size: int) -> None:
    if patch_size > time:
        raise ValueError(
            "Argument `patch_size` must be at most the window's "
            f"{time} time steps. Received: patch_size={patch_size}"
        )
