"""Derivatives by JAX."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from kbp._compat import float64_in_keras
from kbp._utils.types import Tensor

Function = Callable[[list[Tensor]], Tensor]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Let tensors be float64."""
    with jax.enable_x64(True), float64_in_keras():
        yield


def tensor(values: np.ndarray) -> Tensor:
    """Return values as a tensor of their type."""
    return jax.numpy.asarray(values)


def compiled(function: Function, tensors: list[Tensor]) -> Function:
    """Return a function of tensors like these that is traced once."""
    made: Function = jax.jit(function).lower(tensors).compile()
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
    made: Callable[..., tuple[Tensor, list[Tensor]]]
    both = jax.jit(jax.value_and_grad(function))
    made = both.lower(tensors, *given).compile()
    return made


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of structures that is traced once for each shape."""
    return jax.jit(function)


def gradients(
    function: Function, points: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return a function's value and its gradients."""
    return jax.value_and_grad(function)(points)


def hessian_product(
    function: Function, points: list[Tensor], directions: list[Tensor]
) -> list[Tensor]:
    """Return the Hessian of a scalar function, times a direction."""
    slopes = jax.grad(function)
    return jax.jvp(slopes, (points,), (directions,))[1]


def pushed(
    function: Callable[[list[Tensor]], list[Tensor]],
    points: list[Tensor],
    directions: list[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """Return a function's values, and their Jacobian times a direction."""
    return jax.jvp(function, (points,), (directions,))


def jacobian(function: Function, points: list[Tensor]) -> list[Tensor]:
    """Return the Jacobian of a vector, `(outputs, *shape)` for each point."""
    return jax.jacrev(function)(points)
