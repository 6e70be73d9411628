"""What a .tflite file says of itself: names, units, labels, its origin."""

from kbp.export.metadata.description import Metadata, TensorInfo

__all__ = ["Metadata", "TensorInfo"]
