"""Means of the clients' weights, by how many examples they have."""

from typing import Any

from kbp.federated.strategies.registry import register_strategy


@register_strategy("fedavg")
def fedavg(common: dict[str, Any]) -> Any:
    """Return the plain mean (McMahan et al. 2017)."""
    from flwr.serverapp.strategy import FedAvg

    return FedAvg(**common)


@register_strategy("fedavgm")
def fedavgm(
    common: dict[str, Any],
    server_learning_rate: float = 1.0,
    server_momentum: float = 0.9,
) -> Any:
    """Return the mean whose change has a momentum (Hsu et al. 2019)."""
    from flwr.serverapp.strategy import FedAvgM

    return FedAvgM(
        **common,
        server_learning_rate=server_learning_rate,
        server_momentum=server_momentum,
    )


@register_strategy("fedprox")
def fedprox(common: dict[str, Any], proximal_mu: float = 0.01) -> Any:
    """Return the mean of clients held near the server (Li et al. 2020)."""
    from flwr.serverapp.strategy import FedProx

    return FedProx(**common, proximal_mu=proximal_mu)
