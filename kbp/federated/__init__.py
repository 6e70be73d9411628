"""Training by clients who keep their data, on Flower (`kbp[federated]`)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbp.federated.client import client_app
    from kbp.federated.local import LocalGrid
    from kbp.federated.server import server_app
    from kbp.federated.simulation import Federated, simulate
    from kbp.federated.sites.app_folder import write_app
    from kbp.federated.strategies.registry import register_strategy

# Modules that need Flower are imported when they are used, as recipes know the
# strategies' names without it.
_PLACES = {
    "Federated": "simulation",
    "LocalGrid": "local",
    "client_app": "client",
    "register_strategy": "strategies.registry",
    "server_app": "server",
    "simulate": "simulation",
    "write_app": "sites.app_folder",
}
__all__ = [
    "Federated",
    "LocalGrid",
    "client_app",
    "register_strategy",
    "server_app",
    "simulate",
    "write_app",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module = importlib.import_module(f"kbp.federated.{_PLACES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'kbp.federated' has no attribute {name!r}")
