"""Derivatives by TensorFlow."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kbp._utils.types import Tensor

Function = Callable[[list[Tensor]], Tensor]


def float64() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which tensors may be float64, as always here."""
    return contextlib.nullcontext()


def tensor(values: np.ndarray) -> Tensor:
    """Return values as a tensor of their type."""
    return tf.constant(values)


def compiled(function: Function, tensors: list[Tensor]) -> Function:
    """Return a function of tensors like these that is traced once."""
    made: Function = tf.function(function).get_concrete_function(tensors)
    return made


def differentiated(
    function: Callable[..., Tensor], tensors: list[Tensor], *given: list[Tensor]
) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """Return a function that gives the value and the gradients.

    Args:
        function: of lists of tensors.
        tensors: the first list, by which it is differentiated.
        *given: the others.
    """

    def run(
        tensors: list[Tensor], *given: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(tensors, *given)
        found = tape.gradient(value, tensors, unconnected_gradients="zero")
        return value, [tf.convert_to_tensor(x) for x in found]

    made: Callable[..., tuple[Tensor, list[Tensor]]]
    made = tf.function(run).get_concrete_function(tensors, *given)
    return made
