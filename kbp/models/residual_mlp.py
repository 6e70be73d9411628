"""Residual MLP: a feed-forward network for vectors."""

import keras
from keras import layers

from kbp._utils.arguments import check_dropout, check_integer
from kbp._utils.types import Tensor
from kbp.layers import ResidualDense
from kbp.models.registry import register_model


@register_model("residual_mlp")
def ResidualMLP(
    input_shape: tuple[int],
    num_outputs: int,
    *,
    width: int = 64,
    num_layers: int = 3,
    dropout: float = 0.0,
    name: str = "residual_mlp",
) -> keras.Model:
    """Build a multilayer perceptron of residual layers.

        a(0) = relu(W x + b)
        a(1) = relu(W a(0) + b)
        a(l) = relu(W a(l-1) + b) + a(l-2),    l = 2 ... num_layers
        y    = W a(num_layers) + b

    It is for the rows of tables, which the tasks of tables encode.

    Args:
        input_shape: `(features,)`.
        num_outputs: classes, or numbers.
        width: size of each layer but the last one.
        num_layers: number of layers between the first and the last one.
        dropout: rate of the dropout behind each of these.
        name: the model's name.

    Returns:
        A functional model `(batch, features)` to `(batch, num_outputs)`,
        without an activation at its end.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.ResidualMLP((12,), 3, width=16)
    >>> model.output_shape
    (None, 3)

    Reference:
        Residual MLPs on tables: Gorishniy et al., Revisiting Deep Learning
        Models for Tabular Data, NeurIPS 2021.
    """
    check_integer(num_outputs=num_outputs, width=width, num_layers=num_layers)
    check_dropout(dropout)
    if len(input_shape) != 1 or None in input_shape:
        raise ValueError(
            "Argument `input_shape` must be (features,), fixed. "
            f"Received: input_shape={input_shape}"
        )
    inputs = keras.Input(input_shape, name="features")
    skip = layers.Dense(width, activation="relu", name="first_dense")(inputs)
    x = layers.Dense(width, activation="relu", name="layer0_dense")(skip)
    for layer in range(1, num_layers):
        x = _drop(x, dropout, f"layer{layer - 1}_dropout")
        skip, x = x, ResidualDense(width, name=f"layer{layer}")(x, skip)
    x = _drop(x, dropout, f"layer{num_layers - 1}_dropout")
    outputs = layers.Dense(num_outputs, name="outputs")(x)
    return keras.Model(inputs, outputs, name=name)


def _drop(x: Tensor, rate: float, name: str) -> Tensor:
    return layers.Dropout(rate, name=name)(x) if rate else x
