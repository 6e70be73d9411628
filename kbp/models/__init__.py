"""Model families, as functional Keras models."""

from kbp.models.bp_transformer import BPTransformer
from kbp.models.dlinear import DLinear
from kbp.models.linear.covariates import standardize_covariates
from kbp.models.linear.ridge import mean_ridge, ridge, start_at_ridge
from kbp.models.linear.skip import naive_kernel, start_at_kernel
from kbp.models.patch_tst import PatchTST
from kbp.models.pyramid_bpnet import PyramidBPNet
from kbp.models.recurrent import Recurrent
from kbp.models.registry import register_model
from kbp.models.residual_mlp import ResidualMLP
from kbp.models.resnet import ResNet
from kbp.models.spiking_mlp import SpikingMLP
from kbp.models.unet import UNet

__all__ = [
    "BPTransformer",
    "DLinear",
    "PatchTST",
    "PyramidBPNet",
    "Recurrent",
    "ResNet",
    "ResidualMLP",
    "SpikingMLP",
    "UNet",
    "mean_ridge",
    "naive_kernel",
    "register_model",
    "ridge",
    "standardize_covariates",
    "start_at_kernel",
    "start_at_ridge",
]
