"""Model families, as functional Keras models."""

from kbp.models.bp_transformer import BPTransformer
from kbp.models.pyramid_bpnet import PyramidBPNet
from kbp.models.registry import register_model
from kbp.models.residual_mlp import ResidualMLP
from kbp.models.ridge import ridge, start_at_ridge

__all__ = [
    "BPTransformer",
    "PyramidBPNet",
    "ResidualMLP",
    "register_model",
    "ridge",
    "start_at_ridge",
]
