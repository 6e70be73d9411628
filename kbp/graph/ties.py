"""Weights that several layers share."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import tree

from kbp.graph.flattening import flatten
from kbp.graph.layers import unwrapped
from kbp.graph.nodes import nodes


def check_untied(model: keras.Model) -> None:
    """Raise a ValueError if two layers of a model share a weight.

    Copies of the two would each have a weight of their own, which train apart:
    another network than the one that was given. One layer that is used twice
    is no such tie; it stays one layer.

    Args:
        model: a functional or built Sequential model.

    Raises:
        ValueError: two layers share a weight, or an operation uses a layer's.

    Example:
    >>> import keras, kbp
    >>> first = keras.layers.Dense(4, name="first")
    >>> inputs = keras.Input((4,))
    >>> outputs = keras.ops.matmul(first(inputs), first.kernel)
    >>> model = keras.Model(inputs, outputs)
    >>> try:
    ...     kbp.graph.check_untied(model)
    ... except ValueError as error:
    ...     "share weight first/kernel" in str(error)
    True
    """
    owners: dict[int, str] = {}
    seen = set()
    for node in nodes(flatten(model)):
        operation = node.operation
        for weight in _read_by(node.arguments):
            if weight.trainable:
                raise _refusal(model, owners.get(id(weight)), operation, weight)
        if operation in seen:
            continue
        seen.add(operation)
        for weight in _weights_of(operation):
            owner = owners.setdefault(id(weight), operation.name)
            if owner != operation.name:
                raise _refusal(model, owner, operation, weight)


def _weights_of(operation: keras.Operation) -> Iterator[keras.Variable]:
    """Yield what a layer trains, also of others that it refers to."""
    if not isinstance(operation, keras.layers.Layer):
        return
    found = [*operation.weights]
    function = getattr(operation, "function", None)  # of Lambda
    cells = [*(getattr(function, "__closure__", None) or ())]
    found += _read_by([cell.cell_contents for cell in cells])
    found += _read_by(list(vars(operation).values()))
    for weight in {id(weight): weight for weight in found}.values():
        if weight.trainable:  # copies of others stay alike
            yield weight


def _read_by(structure: Any) -> list[keras.Variable]:
    """Return the variables in a structure, and those of layers in it."""
    found: list[keras.Variable] = []
    for value in tree.flatten(structure):
        layer = unwrapped(value) if isinstance(value, keras.Layer) else None
        if isinstance(value, keras.Variable):
            found.append(value)
        elif layer is not None and layer.built:
            found += layer.weights
    return found


def _refusal(
    model: keras.Model,
    owner: str | None,
    operation: keras.Operation,
    weight: keras.Variable,
) -> ValueError:
    where = (
        f"Layers {owner} and {operation.name} of model {model.name} share"
        if owner
        else f"Operation {operation.name} of model {model.name} reads"
    )
    return ValueError(
        f"{where} weight {weight.path}, which would become two weights that "
        "train apart. Use one layer twice, or give each a weight of its own."
    )
