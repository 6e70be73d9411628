"""Keras layers: residual and attention layers, masks, fusion of scales."""

from kbp.layers.attention import SelfAttention
from kbp.layers.channel_scale import ChannelScale
from kbp.layers.composite import Composite
from kbp.layers.dtm_conv2d import DTMConv2D
from kbp.layers.dtm_dense import DTMDense
from kbp.layers.fusion import FeatureFusion
from kbp.layers.nearest_up_sampling import NearestUpSampling2D
from kbp.layers.position import PositionEmbedding
from kbp.layers.residual import ResidualConv2D, ResidualDense
from kbp.layers.standardization import Standardization
from kbp.layers.transformed import TransformedLayer
from kbp.layers.transforms.dtm import DTM
from kbp.layers.transforms.fixed_mask import FixedMask
from kbp.layers.transforms.kernel_transform import KernelTransform
from kbp.layers.transforms.path_norm import PathNormBound
from kbp.layers.window_normalization import WindowNormalization
from kbp.layers.window_slice import WindowSlice
from kbp.layers.window_statistics import WindowStatistics

__all__ = [
    "ChannelScale",
    "Composite",
    "DTM",
    "DTMConv2D",
    "DTMDense",
    "FeatureFusion",
    "FixedMask",
    "KernelTransform",
    "NearestUpSampling2D",
    "PathNormBound",
    "PositionEmbedding",
    "ResidualConv2D",
    "ResidualDense",
    "SelfAttention",
    "Standardization",
    "TransformedLayer",
    "WindowNormalization",
    "WindowSlice",
    "WindowStatistics",
]
