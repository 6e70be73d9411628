"""Residual MLP: a feed-forward network for vectors."""

import keras
from keras import layers

from kbp._utils.arguments import check_integer, check_rate
from kbp._utils.types import Tensor
from kbp.layers import ResidualDense
from kbp.models.registry import register_model
from kbp.models.regularization import depth_rates, kernel_options


@register_model("residual_mlp")
def ResidualMLP(
    input_shape: tuple[int],
    num_outputs: int,
    *,
    width: int = 64,
    num_layers: int = 3,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
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
        stochastic_depth: rate in [0, 1) at which the last residual layer is
            dropped in training, those before it less, see `depth_rates`.
        l2: factor of the squares of all kernels in the loss.
        initializer: of all kernels, such as `"he_normal"`, as Keras names them.
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
    check_rate(dropout=dropout)
    if len(input_shape) != 1 or None in input_shape:
        raise ValueError(
            "Argument `input_shape` must be (features,), fixed. "
            f"Received: input_shape={input_shape}"
        )
    kernel = kernel_options(initializer, l2)
    rates = depth_rates(stochastic_depth, num_layers - 1)

    def dense(x: Tensor, name: str) -> Tensor:
        return layers.Dense(width, activation="relu", name=name, **kernel)(x)

    inputs = keras.Input(input_shape, name="features")
    skip = dense(inputs, "first_dense")
    x = dense(skip, "layer0_dense")
    for layer, rate in enumerate(rates, start=1):
        x = _drop(x, dropout, f"layer{layer - 1}_dropout")
        residual = ResidualDense(
            width, stochastic_depth=rate, name=f"layer{layer}", **kernel
        )
        skip, x = x, residual(x, skip)
    x = _drop(x, dropout, f"layer{num_layers - 1}_dropout")
    outputs = layers.Dense(num_outputs, name="outputs", **kernel)(x)
    return keras.Model(inputs, outputs, name=name)


def _drop(x: Tensor, rate: float, name: str) -> Tensor:
    return layers.Dropout(rate, name=name)(x) if rate else x
