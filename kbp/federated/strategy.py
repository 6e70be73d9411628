"""The strategy of a recipe's section `[federated]`."""

from typing import Any

from kbp.federated.flower import Strategy
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
