"""Unrolling layers that are made of others."""

from typing import Any

import keras

from kbp._compat import mask_of
from kbp.graph.layers import unwrapped
from kbp.graph.rewriting import (
    as_functional,
    is_functional,
    rewrite,
    tensors_of,
)
from kbp.layers import Composite


def flatten(model: keras.Model) -> keras.Model:
    """Unroll composite layers and nested models into primitive layers.

    Args:
        model: a functional or built Sequential model.

    Returns:
        A functional model that shares every layer and weight with `model`.

    Raises:
        ValueError: the model is subclassed, or not built yet, or layers of
            nested models have equal names.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((5, 4))
    >>> x = kbp.layers.SelfAttention(2, name="attention")(inputs)
    >>> flat = kbp.graph.flatten(keras.Model(inputs, x))
    >>> any(layer.name == "attention" for layer in flat.layers)
    False
    """
    model = as_functional(model)

    left: set[str] = set()  # what cannot be unrolled

    def is_unrolled(operation: keras.Operation) -> bool:
        return operation.name not in left and (
            isinstance(
                operation,
                Composite | keras.Sequential | keras.layers.TimeDistributed,
            )
            or is_functional(operation)
        )

    def unroll(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        # `call` leaves the nodes of the layers inside, `__call__` one node.
        if not is_unrolled(layer):
            return layer(*args, **kwargs)
        if isinstance(layer, keras.layers.TimeDistributed):
            outputs = over_time(layer, *args)
            if outputs is None:
                left.add(layer.name)
                return layer(*args, **kwargs)
            return outputs
        outputs = layer.call(*args, **kwargs)
        if isinstance(layer, Composite):
            name_operations(layer.name, (args, kwargs), outputs)
        return outputs

    while any(is_unrolled(operation) for operation in model.operations):
        try:
            model = rewrite(model, call=unroll)
        except ValueError as error:
            if "names should be unique" not in str(error):
                raise
            raise ValueError(
                f"Model {model.name} cannot be unrolled: layers of its nested "
                f"models have equal names. Give each its own. {error}"
            ) from error
    return model


def over_time(
    layer: keras.layers.TimeDistributed, inputs: keras.KerasTensor
) -> keras.KerasTensor | None:
    """Apply the layer in a `TimeDistributed` to all times at once.

    The times become part of the batch, and come out of it again.

    Args:
        layer: the wrapper.
        inputs: tensor `(batch, time, ...)`.

    Returns:
        What the wrapper gives; `None` where its times are not known, or some
        are masked.

    Example:
    >>> import keras, kbp
    >>> layer = keras.layers.TimeDistributed(keras.layers.Conv1D(4, 3))
    >>> x = keras.Input((5, 8, 2))
    >>> layer(x).shape
    (None, 5, 6, 4)
    >>> kbp.graph.over_time(layer, x).shape
    (None, 5, 6, 4)
    """
    if isinstance(unwrapped(layer.layer), keras.layers.Dense):
        return layer.layer(inputs)  # which treats each position alone
    _, time, *rest = inputs.shape
    if None in (time, *rest) or mask_of(inputs) is not None:
        return None
    outputs = layer.layer(keras.ops.reshape(inputs, (-1, *rest)))
    if not isinstance(outputs, keras.KerasTensor) or None in outputs.shape[1:]:
        return None
    outputs = keras.ops.reshape(outputs, (-1, time, *outputs.shape[1:]))
    name_operations(layer.name, inputs, outputs)
    return outputs


def name_operations(layer: str, inputs: object, outputs: object) -> None:
    """Name new operations after the layer that they are of.

    Keras counts `reshape`, `reshape_1`, ... anew in each process, and a model
    that was loaded may hold these names already.

    Args:
        layer: name of the layer.
        inputs: what it was called with.
        outputs: what came out.

    Example:
    >>> import keras, kbp
    >>> x = keras.Input((4,))
    >>> y = keras.ops.transpose(x)
    >>> kbp.graph.name_operations("mine", x, y)
    >>> y._keras_history.operation.name.startswith("mine_transpose")
    True
    """
    for operation in keras.Function(tensors_of(inputs), outputs).operations:
        if not isinstance(operation, keras.layers.Layer):
            operation.name = f"{layer}_{operation.name}"
