"""Flower's strategies by the names that recipes use."""

from collections.abc import Callable
from typing import Any, TypeVar

from kbp._utils.registry import Registry

Make = TypeVar("Make", bound=Callable[..., Any])

# `make(common, **keys) -> strategy`, which imports Flower when it is called.
STRATEGIES: Registry[Callable[..., Any]] = Registry(
    "federated.strategy", "kbp.federated.strategies"
)


def register_strategy(name: str) -> Callable[[Make], Make]:
    """Register what makes a strategy of Flower, for recipes.

    Args:
        name: `federated.strategy` of a recipe.

    Returns:
        A decorator for `make(common, **keys)`, which returns a
        `flwr.serverapp.strategy.Strategy`. `common` are the arguments that all
        of Flower's strategies take; the keyword arguments are the keys of
        `[federated]` that count for this one.

    Raises:
        UserError: another strategy has that name.

    Example:
    >>> from kbp.federated.strategies.registry import STRATEGIES
    >>> strategy = STRATEGIES["fedprox"]({}, proximal_mu=0.1)
    >>> strategy.proximal_mu
    0.1
    """

    def register(make: Make) -> Make:
        STRATEGIES.add(name, make)
        return make

    return register
