"""Keras layers: residual and attention layers, masks, fusion of scales."""

from kbp.layers.attention import SelfAttention
from kbp.layers.channel_scale import ChannelScale
from kbp.layers.composite import Composite
from kbp.layers.dtm_conv2d import DTMConv2D
from kbp.layers.dtm_dense import DTMDense
from kbp.layers.fusion import FeatureFusion
from kbp.layers.gradient_range import GradientRange
from kbp.layers.majority_vote import MajorityVote
from kbp.layers.nearest_up_sampling import NearestUpSampling2D
from kbp.layers.position import PositionEmbedding
from kbp.layers.recurrent.truncated_rnn import TruncatedRNN
from kbp.layers.residual import ResidualConv2D, ResidualDense
from kbp.layers.transformed import TransformedLayer
from kbp.layers.transforms.dtm import DTM
from kbp.layers.transforms.fixed_mask import FixedMask
from kbp.layers.transforms.kernel_transform import KernelTransform
from kbp.layers.transforms.path_norm import PathNormBound
from kbp.layers.units.inverse_standardization import InverseStandardization
from kbp.layers.units.standardization import Standardization
from kbp.layers.units.table_encoding import TableEncoding
from kbp.layers.units.window_normalization import WindowNormalization
from kbp.layers.units.window_slice import WindowSlice
from kbp.layers.units.window_statistics import WindowStatistics

__all__ = [
    "ChannelScale",
    "Composite",
    "DTM",
    "DTMConv2D",
    "DTMDense",
    "FeatureFusion",
    "FixedMask",
    "GradientRange",
    "InverseStandardization",
    "KernelTransform",
    "MajorityVote",
    "NearestUpSampling2D",
    "PathNormBound",
    "PositionEmbedding",
    "ResidualConv2D",
    "ResidualDense",
    "SelfAttention",
    "TableEncoding",
    "Standardization",
    "TransformedLayer",
    "TruncatedRNN",
    "WindowNormalization",
    "WindowSlice",
    "WindowStatistics",
]
