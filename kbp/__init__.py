"""kbp: Keras networks that converge sooner, prune themselves, ship in 8 bits.

The road, step by step: `kbp.models` or a model of your own, `kbp.sparsity`,
`kbp.HybridOptimizer`, `kbp.quantization`, `kbp.export`. Importing kbp registers
its layers and optimizer with Keras, so that saved models load. It imports
neither TensorFlow Model Optimization nor tf_keras.
"""

import importlib

from kbp import layers, models, optimizers, quantization, sparsity
from kbp.optimizers import HybridOptimizer

__version__ = "0.1.0"
__all__ = [
    "HybridOptimizer",
    "data",
    "export",
    "layers",
    "models",
    "optimizers",
    "quantization",
    "sparsity",
    "training",
    "zoo",
]

# These need TensorFlow; the others run on each of Keras's backends.
_ON_FIRST_USE = ("data", "export", "training", "zoo")


def __getattr__(name: str):
    if name in _ON_FIRST_USE:
        return importlib.import_module(f"kbp.{name}")
    raise AttributeError(f"module 'kbp' has no attribute {name!r}")
