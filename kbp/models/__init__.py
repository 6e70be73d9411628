"""Model families, as functional Keras models."""

from kbp.models.bp_transformer import BPTransformer
from kbp.models.pyramid_bpnet import PyramidBPNet
from kbp.models.ridge import ridge, start_at_ridge

__all__ = ["BPTransformer", "PyramidBPNet", "ridge", "start_at_ridge"]
