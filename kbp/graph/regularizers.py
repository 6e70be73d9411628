"""Regularizers of layers that are rewritten, so that the loss stays."""

from typing import Any

import keras
import numpy as np

from kbp.layers.scaled_regularizer import ScaledRegularizer


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
