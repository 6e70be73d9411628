"""Derivatives by TensorFlow.

All of them go backwards, since TensorFlow's forward mode knows no loops, which
recurrent layers are made of.
"""

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
        return gradients(lambda points: function(points, *given), tensors)

    made: Callable[..., tuple[Tensor, list[Tensor]]]
    made = tf.function(run).get_concrete_function(tensors, *given)
    return made


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of structures that is traced once for each shape."""
    return tf.function(function)


def gradients(
    function: Function, points: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return a function's value and its gradients."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = function(points)
    return value, _pulled(tape, value, points)


def hessian_product(
    function: Function, points: list[Tensor], directions: list[Tensor]
) -> list[Tensor]:
    """Return the Hessian of a scalar function, times a direction."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        _, slopes = gradients(function, points)
    return _pulled(tape, slopes, points, directions)


def pushed(
    function: Callable[[list[Tensor]], list[Tensor]],
    points: list[Tensor],
    directions: list[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """Return a function's values, and their Jacobian times a direction.

    What the Jacobian's transpose makes of any vector is linear in it, so its
    derivative by that vector is the Jacobian.
    """
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(points)
            values = function(points)
        anything = [tf.zeros_like(value) for value in values]
        tape.watch(anything)
        slopes = _pulled(inner, values, points, anything)
    return values, _pulled(tape, slopes, anything, directions)


def jacobian(function: Function, points: list[Tensor]) -> list[Tensor]:
    """Return the Jacobian of a vector, `(outputs, *shape)` for each point."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        values = function(points)
    rows = tape.jacobian(values, points, unconnected_gradients="zero")
    return [tf.convert_to_tensor(row) for row in rows]


def _pulled(
    tape: tf.GradientTape,
    values: Any,
    points: list[Tensor],
    weights: list[Tensor] | None = None,
) -> list[Tensor]:
    found = tape.gradient(
        values, points, output_gradients=weights, unconnected_gradients="zero"
    )
    return [tf.convert_to_tensor(x) for x in found]  # perhaps sparse rows
