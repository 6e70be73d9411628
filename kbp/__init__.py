"""kbp: Keras networks that converge sooner, prune themselves, ship in 8 bits.

The pipeline, step by step: `kbp.models` or a model of your own,
`kbp.sparsity`, `kbp.HybridOptimizer`, `kbp.quantization`, `kbp.export`. Keras
finds kbp's layers, losses, metrics and optimizer in saved models once kbp is
imported, however Python was started. Importing kbp imports neither Keras nor
TensorFlow: each room is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kbp._registration import register_with_keras

if TYPE_CHECKING:
    from kbp import (
        data,
        deploy,
        diagnostics,
        export,
        federated,
        graph,
        inference,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        quantization,
        recipes,
        reports,
        sparsity,
        spiking,
        tasks,
        training,
        zoo,
    )
    from kbp.optimizers import HybridOptimizer
    from kbp.training import compress

__version__ = "0.1.0"
# Where names are that are no rooms.
_PLACES = {"HybridOptimizer": "kbp.optimizers", "compress": "kbp.training"}
__all__ = [
    "HybridOptimizer",
    "compress",
    "data",
    "deploy",
    "diagnostics",
    "export",
    "federated",
    "graph",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "quantization",
    "recipes",
    "reports",
    "sparsity",
    "spiking",
    "tasks",
    "training",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in __all__:
        return importlib.import_module(f"kbp.{name}")
    raise AttributeError(f"module 'kbp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__version__", *__all__])


register_with_keras()
