"""Derivatives by JAX."""

import contextlib
from collections.abc import Callable, Iterator

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
