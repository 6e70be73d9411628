"""Methods that minimize a loss over all examples, by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from kbp._utils.registry import Registry

Method = Callable[..., None]
Kind = TypeVar("Kind", bound=Callable[..., Any])

METHODS: Registry[Method] = Registry(
    "method", "kbp.training.full_batch.methods"
)


def register_method(name: str) -> Callable[[Kind], Kind]:
    """Register a method for `kbp.training.minimize`.

    Args:
        name: a word; hyphens are written as underscores.

    Returns:
        A decorator for `method(progress, **options)`, which starts at
        `progress.start` and hands each step to `progress.step`.

    Raises:
        UserError: another method has that name.

    Example:
    >>> import kbp
    >>> @kbp.training.register_method("steepest_descent")
    ... def steepest_descent(progress, rate=0.1):
    ...     weights = progress.start
    ...     while True:
    ...         _, gradient = progress.objective(weights)
    ...         weights = weights - rate * gradient
    ...         progress.step(weights)
    """

    def register(method: Kind) -> Kind:
        METHODS.add(name, method)
        return method

    return register
