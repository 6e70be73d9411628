"""A person's own Keras model: pruned, quantized, exported, measured."""

from kbp.training.compress.call import compress
from kbp.training.compress.result import Compressed

__all__ = ["Compressed", "compress"]
