"""BP-Transformer: self-attention in a feed-forward network."""

import keras
from keras import layers

from kbp.layers import PositionEmbedding, SelfAttention
from kbp.layers.arguments import check_dropout, check_integer


def BPTransformer(
    input_shape: tuple[int, int],
    num_classes: int,
    *,
    num_layers: int = 2,
    width: int = 64,
    num_heads: int = 4,
    dropout: float = 0.0,
    name: str = "bp_transformer",
) -> keras.Model:
    """Build a BP-Transformer sequence classifier.

    Each feed-forward layer is followed by self-attention with a residual
    connection:

        a'(l) = relu(W a(l-1) + b)
        a(l)  = MultiHead(W_Q a', W_K a', W_V a') + a'

    The first layer also adds a learnable position embedding; the head averages
    over time. There is no LayerNormalization, which 8-bit files hold in float.

    Args:
        input_shape: `(time, features)`, both fixed.
        num_classes: number of classes, two or more.
        num_layers: number of feed-forward layers with attention.
        width: features inside; divisible by `num_heads`.
        num_heads: heads of each attention.
        dropout: rate before the last layer, in [0, 1).
        name: the model's name.

    Returns:
        A functional model `(batch, time, features)` to logits
        `(batch, num_classes)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.BPTransformer((32, 32), 10, width=32)
    >>> model.output_shape
    (None, 10)
    """
    check_integer(2, num_classes=num_classes)
    check_integer(num_layers=num_layers, num_heads=num_heads, width=width)
    check_dropout(dropout)
    _check_shape(input_shape, width, num_heads)
    inputs = keras.Input(input_shape, name="sequence")
    x = inputs
    for layer in range(num_layers):
        x = layers.Dense(width, activation="relu", name=f"layer{layer}_dense")(
            x
        )
        if layer == 0:
            x = PositionEmbedding(name="position")(x)
        x = SelfAttention(num_heads, name=f"layer{layer}_attention")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name)


def _check_shape(input_shape, width, num_heads):
    if len(input_shape) != 2 or None in input_shape:
        raise ValueError(
            "Argument `input_shape` must be (time, features), both fixed. "
            f"Received: input_shape={input_shape}"
        )
    if width % num_heads:
        raise ValueError(
            "Argument `width` must be divisible by `num_heads`. "
            f"Received: width={width}, num_heads={num_heads}"
        )
