"""Model families, as functional Keras models."""

from kbp.models.bp_transformer import BPTransformer
from kbp.models.pyramid_bpnet import PyramidBPNet

__all__ = ["BPTransformer", "PyramidBPNet"]
