"""The mean change of the clients as a gradient for the server's optimizer.

Reference:
    Reddi et al., Adaptive Federated Optimization, 2021, whose usual settings
    these are: a server's learning rate of 0.01 and a tau of 0.001.
"""

from typing import Any

from kbp.federated.strategies.registry import register_strategy

_BETAS: dict[str, Any] = {"beta_1": 0.9, "beta_2": 0.99}


@register_strategy("fedadam")
def fedadam(common: dict[str, Any], server_learning_rate: float = 0.01) -> Any:
    """Return Adam on the server."""
    from flwr.serverapp.strategy import FedAdam

    return FedAdam(**common, eta=server_learning_rate, **_BETAS)


@register_strategy("fedyogi")
def fedyogi(common: dict[str, Any], server_learning_rate: float = 0.01) -> Any:
    """Return Yogi on the server."""
    from flwr.serverapp.strategy import FedYogi

    return FedYogi(**common, eta=server_learning_rate, **_BETAS)


@register_strategy("fedadagrad")
def fedadagrad(
    common: dict[str, Any], server_learning_rate: float = 0.01
) -> Any:
    """Return Adagrad on the server."""
    from flwr.serverapp.strategy import FedAdagrad

    return FedAdagrad(**common, eta=server_learning_rate)
