"""kbp: Keras networks that converge sooner, prune themselves, ship in 8 bits.

The road, step by step: `kbp.models` or a model of your own, `kbp.sparsity`,
`kbp.HybridOptimizer`, `kbp.quantization`, `kbp.export`. Importing kbp registers
its layers and optimizer with Keras, so that saved models load. It imports
neither TensorFlow Model Optimization nor tf_keras.
"""

from kbp import export, layers, models, optimizers, quantization, sparsity
from kbp.optimizers import HybridOptimizer

__version__ = "0.1.0"
__all__ = [
    "HybridOptimizer",
    "export",
    "layers",
    "models",
    "optimizers",
    "quantization",
    "sparsity",
]
