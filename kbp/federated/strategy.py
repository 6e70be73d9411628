"""The strategy of a recipe's section `[federated]`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kbp.federated.exchange import Arrays
from kbp.federated.flower import (
    ArrayRecord,
    Message,
    MetricRecord,
    Strategy,
)
from kbp.federated.records import EXAMPLES, METRICS
from kbp.federated.strategies.registry import STRATEGIES
from kbp.recipes.federated import OF_STRATEGIES, FederatedRecipe


def make_strategy(section: FederatedRecipe) -> Strategy:
    """Return a strategy of Flower's.

    Args:
        section: of the recipe, with one or more clients.
    """
    asked = max(1, int(section.clients * section.fraction))
    common: dict[str, Any] = {
        "fraction_train": section.fraction,
        "fraction_evaluate": 1.0,
        "min_train_nodes": asked,
        "min_evaluate_nodes": section.clients,
        "min_available_nodes": section.clients,
    }
    make = STRATEGIES[section.strategy]
    strategy = make(common, **section.given(make, OF_STRATEGIES))
    if section.clipping_norm is None:
        return strategy
    from flwr.serverapp.strategy import (
        DifferentialPrivacyServerSideFixedClipping,
    )

    return DifferentialPrivacyServerSideFixedClipping(
        strategy,
        noise_multiplier=section.noise_multiplier or 0.0,
        clipping_norm=section.clipping_norm,
        num_sampled_clients=asked,
    )


def is_private(strategy: Strategy) -> bool:
    """Tell whether a strategy clips updates and adds noise."""
    return hasattr(strategy, "num_sampled_clients")


def aggregate_privately(
    strategy: Any, number: int, fine: Sequence[Message]
) -> tuple[ArrayRecord | None, MetricRecord | None]:
    """Return what a private strategy makes of the replies that count.

    The noise is for as many as there are, of whom all weigh alike: the more one
    weighs, the more of it would show. NumPy's global numbers, by which Flower
    draws noise, follow from the recipe's seed, which all clients know; so they
    are seeded by the system here.

    Args:
        strategy: see `is_private`.
        number: of the round.
        fine: the replies.
    """
    strategy.num_sampled_clients = len(fine)
    for reply in fine:
        reply.content.metric_records[METRICS][EXAMPLES] = 1
    before = np.random.get_state()
    np.random.seed(None)
    try:
        found: tuple[ArrayRecord | None, MetricRecord | None]
        found = strategy.aggregate_train(number, fine)
        return found
    finally:
        np.random.set_state(before)


def state_of(strategy: Any) -> Arrays:
    """Return the arrays that a strategy of Flower's keeps between rounds."""
    found: Arrays = {}
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy):
            held = state_of(value)
            found |= {f"{name}.{key}": array for key, array in held.items()}
            continue
        items: Any = ()
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list):
            items = enumerate(value)
        found |= {
            f"{name}:{type(value).__name__}:{key}": np.asarray(array)
            for key, array in items
            # NumPy makes numbers of arithmetic with arrays of no dimension.
            if isinstance(array, np.ndarray | np.generic)
        }
    return found


def restore(strategy: Any, state: Arrays) -> None:
    """Give a strategy the arrays that `state_of` returned."""
    inside: dict[str, Arrays] = {}
    held: dict[tuple[str, str], Arrays] = {}
    for key, array in state.items():
        place, kind, item = key.split(":", 2)
        first, dot, rest = place.partition(".")
        if dot:
            inside.setdefault(first, {})[f"{rest}:{kind}:{item}"] = array
        else:
            held.setdefault((place, kind), {})[item] = array
    for name, arrays in inside.items():
        restore(getattr(strategy, name), arrays)
    for (name, kind), items in held.items():
        setattr(strategy, name, items if kind == "dict" else [*items.values()])
