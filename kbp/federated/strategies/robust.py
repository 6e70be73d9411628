"""Aggregates that a minority of bad clients cannot move far."""

from typing import Any

from kbp.errors import UserError
from kbp.federated.strategies.registry import register_strategy


def _check_enough(common: dict[str, Any], bad: int, needed: int) -> None:
    """Raise a UserError if too few clients train in a round.

    Args:
        common: arguments of all strategies.
        bad: how many clients may be bad.
        needed: how many must train then.
    """
    trained = common.get("min_train_nodes", needed)
    if trained < needed:
        raise UserError(
            f"federated.bad_clients = {bad} takes {needed} or more clients in "
            f"a round, by this strategy; there are {trained}"
        )


@register_strategy("krum")
def krum(common: dict[str, Any], bad_clients: int = 1) -> Any:
    """Return the one update nearest to others (Blanchard et al. 2017)."""
    from flwr.serverapp.strategy import Krum

    _check_enough(common, bad_clients, 2 * bad_clients + 3)

    return Krum(**common, num_malicious_nodes=bad_clients)


@register_strategy("multikrum")
def multikrum(
    common: dict[str, Any], bad_clients: int = 1, selected: int = 3
) -> Any:
    """Return the mean of the updates nearest to others."""
    from flwr.serverapp.strategy import MultiKrum

    _check_enough(common, bad_clients, 2 * bad_clients + 3)

    return MultiKrum(
        **common, num_malicious_nodes=bad_clients, num_nodes_to_select=selected
    )


@register_strategy("bulyan")
def bulyan(common: dict[str, Any], bad_clients: int = 1) -> Any:
    """Return Bulyan's aggregate (El Mhamdi et al. 2018)."""
    from flwr.serverapp.strategy import Bulyan

    _check_enough(common, bad_clients, 4 * bad_clients + 3)

    return Bulyan(**common, num_malicious_nodes=bad_clients)


@register_strategy("fedmedian")
def fedmedian(common: dict[str, Any]) -> Any:
    """Return the median of each weight (Yin et al. 2018)."""
    from flwr.serverapp.strategy import FedMedian

    return FedMedian(**common)


@register_strategy("fedtrimmedavg")
def fedtrimmedavg(common: dict[str, Any], trimmed: float = 0.2) -> Any:
    """Return the mean of each weight without its extremes (Yin et al. 2018)."""
    from flwr.serverapp.strategy import FedTrimmedAvg

    return FedTrimmedAvg(**common, beta=trimmed)
