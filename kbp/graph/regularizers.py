"""Regularizers of layers that are rewritten, so that the loss stays."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="kbp")
class ScaledRegularizer(keras.regularizers.Regularizer):
    """Regularize what a tensor is times factors.

    Where a rewriting multiplies a layer's weights, and something else by the
    inverse, this is the loss that the weights had before.

    Args:
        regularizer: of the product.
        factors: number, or nested list that broadcasts with the tensor.

    Call arguments:
        x: tensor.

    Returns:
        The loss, tensor `()`.

    Example:
    >>> import keras, kbp
    >>> of_halves = kbp.graph.ScaledRegularizer(keras.regularizers.L1(1.0), 0.5)
    >>> float(of_halves(keras.ops.ones((4,))))
    2.0
    """

    def __init__(self, regularizer: Any, factors: Any) -> None:
        self.regularizer = regularizer
        self.factors = np.asarray(factors, "float32")

    def __call__(self, x: Any) -> Any:
        return self.regularizer(x * ops.cast(self.factors, x.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            "regularizer": keras.saving.serialize_keras_object(
                self.regularizer
            ),
            "factors": self.factors.tolist(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        made = keras.saving.deserialize_keras_object(config["regularizer"])
        return cls(made, config["factors"])


def multiply(
    layer: keras.layers.Layer, variable: keras.Variable, factors: Any
) -> None:
    """Multiply a layer's weight and keep what its regularizer gives.

    Args:
        layer: a built layer.
        variable: its weight.
        factors: array that broadcasts with the weight.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(2, kernel_regularizer="l2")
    >>> dense.build((None, 3))
    >>> before = float(dense.losses[0])
    >>> kbp.graph.multiply(dense, dense.kernel, 4.0)
    >>> abs(float(dense.losses[0]) - before) < 1e-6
    True
    """
    variable.assign(keras.ops.convert_to_numpy(variable) * factors)
    old = variable.regularizer
    if old is None:
        return
    zero = np.asarray(factors) == 0
    new: Any = ScaledRegularizer(old, 1 / np.where(zero, 1.0, factors))
    if isinstance(old, ScaledRegularizer):
        new = ScaledRegularizer(old.regularizer, old.factors * new.factors)
    _replace(layer, variable, new)


def unscale(layer: keras.layers.Layer) -> None:
    """Let regularizers be of a layer's weights again as they are.

    Args:
        layer: whose factors are in its weights again.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(2, kernel_regularizer="l2")
    >>> dense.build((None, 3))
    >>> kbp.graph.multiply(dense, dense.kernel, 4.0)
    >>> kbp.graph.unscale(dense)
    >>> type(dense.kernel_regularizer).__name__
    'L2'
    """
    for variable in layer.weights:
        if isinstance(variable.regularizer, ScaledRegularizer):
            _replace(layer, variable, variable.regularizer.regularizer)


def adds_loss(layer: keras.Operation) -> bool:
    """Say whether a person's class adds to the loss by what it computes.

    Args:
        layer: a layer or operation.

    Example:
    >>> import keras, kbp
    >>> kbp.graph.adds_loss(keras.layers.Dense(2, activity_regularizer="l2"))
    False
    """
    return any(
        "add_loss" in base.__dict__["call"].__code__.co_names
        for base in type(layer).__mro__
        if hasattr(base.__dict__.get("call"), "__code__")
        and not base.__module__.startswith("keras.")
    )


def _replace(
    layer: keras.layers.Layer, variable: keras.Variable, new: Any
) -> None:
    """Give a weight another regularizer, also in the layer's config."""
    for name, value in vars(layer).items():
        if name.endswith("_regularizer") and value is variable.regularizer:
            setattr(layer, name, new)
            break
    variable.regularizer = new
