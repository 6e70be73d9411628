"""Model families, as functional Keras models."""

from kbp.models.bp_transformer import BPTransformer
from kbp.models.covariate_terms import standardize_covariates
from kbp.models.linear_skip import naive_kernel, start_at_kernel
from kbp.models.pyramid_bpnet import PyramidBPNet
from kbp.models.recurrent import Recurrent
from kbp.models.registry import register_model
from kbp.models.residual_mlp import ResidualMLP
from kbp.models.ridge import mean_ridge, ridge, start_at_ridge
from kbp.models.spiking_mlp import SpikingMLP

__all__ = [
    "BPTransformer",
    "PyramidBPNet",
    "Recurrent",
    "ResidualMLP",
    "SpikingMLP",
    "mean_ridge",
    "naive_kernel",
    "register_model",
    "ridge",
    "standardize_covariates",
    "start_at_kernel",
    "start_at_ridge",
]
