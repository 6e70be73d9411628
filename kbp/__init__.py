"""kbp: Keras networks that converge sooner, prune themselves, ship in 8 bits.

The road, step by step: `kbp.models` or a model of your own, `kbp.sparsity`,
`kbp.HybridOptimizer`, `kbp.quantization`, `kbp.export`. Importing kbp registers
its layers, losses, metrics and optimizer with Keras, so that saved models load.
It imports neither TensorFlow Model Optimization nor tf_keras.
"""

import importlib
import os
import sys

__version__ = "0.1.0"
__all__ = [
    "HybridOptimizer",
    "data",
    "export",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "quantization",
    "sparsity",
    "training",
    "zoo",
]


def __getattr__(name: str):
    # What needs TensorFlow is imported when it is first used.
    if name == "HybridOptimizer":
        return importlib.import_module("kbp.optimizers").HybridOptimizer
    if name in __all__:
        return importlib.import_module(f"kbp.{name}")
    raise AttributeError(f"module 'kbp' has no attribute {name!r}")


# A person who imports kbp gets everything registered with Keras. The command
# line imports that itself, without TensorFlow's start-up messages. (Python
# sets the first argument to "-m" while it looks for the module to run.)
if os.path.basename(sys.argv[0]) not in ("-m", "kbp"):
    from kbp import (
        layers,
        losses,
        metrics,
        models,
        optimizers,
        quantization,
        sparsity,
    )
    from kbp.optimizers import HybridOptimizer
