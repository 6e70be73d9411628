"""Models as functions of their weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.types import Tensor
from kbp.diagnostics import backends


def trained(model: keras.Model) -> list[keras.Variable]:
    """Return the variables of a model that are trained.

    Raises:
        ValueError: the model is not built or has none, or one holds integers.
    """
    found: list[keras.Variable] = model.trainable_variables
    if not model.built or not found:
        raise ValueError(
            f"Model {model.name} must be built, with weights to train."
        )
    for variable in found:
        if "float" not in str(variable.dtype):
            raise ValueError(
                "Derivatives are by weights that are floats. Received: "
                f"{variable.path} of {variable.dtype}"
            )
    return found


def others(model: keras.Model) -> list[keras.Variable]:
    """Return the variables of a model that are not trained."""
    return [v for v in model.variables if not v.trainable]


def values(variables: Sequence[keras.Variable]) -> list[Tensor]:
    """Return what variables hold now, also within another scope of Keras."""
    return [keras.ops.copy(v) for v in variables]


def scope(
    variables: Sequence[keras.Variable], tensors: Sequence[Tensor]
) -> keras.StatelessScope:
    """Return a scope in which variables hold tensors, and nothing changes.

    Layers gather what they add to a loss in it.
    """
    return keras.StatelessScope(
        state_mapping=[*zip(variables, tensors, strict=True)],
        collect_losses=True,
    )


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array of float64."""
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def flat(parts: Sequence[Any]) -> np.ndarray:
    """Return tensors as one vector of float64."""
    return np.concatenate([np.ravel(as_array(part)) for part in parts])


def tensors(structure: Any, dtype: str) -> Any:
    """Return arrays as tensors, those of floats in a type.

    Raises:
        ValueError: there are arrays of no numbers.
    """

    def converted(value: Any) -> Tensor:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(
                f"Data must be arrays of numbers. Received: {array.dtype}"
            )
        is_float = array.dtype.kind == "f"
        return backends.of_keras().tensor(
            array.astype(dtype) if is_float else array
        )

    return keras.tree.map_structure(
        lambda x: None if x is None else converted(x), structure
    )


def rows(structure: Any, name: str) -> int:
    """Return how many examples arrays hold.

    Args:
        structure: of arrays.
        name: of the argument, for messages.

    Raises:
        ValueError: there are none, or the arrays differ in their number.
    """
    counts = {
        np.shape(x)[0] if np.ndim(x) else 0
        for x in keras.tree.flatten(structure)
        if x is not None
    }
    if len(counts) != 1 or not min(counts):
        raise ValueError(
            f"Argument `{name}` must hold as many examples in each array, one "
            f"or more. Received: {sorted(counts)} examples"
        )
    return counts.pop()
