"""The traits of Keras's layers and of kbp's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import layers

from kbp.graph import integer_limits as limits
from kbp.graph.traits import LayerTraits
from kbp.layers import (
    ChannelScale,
    GradientRange,
    InverseStandardization,
    MajorityVote,
    NearestUpSampling2D,
    PositionEmbedding,
    Standardization,
    TableEncoding,
    WindowNormalization,
    WindowSlice,
    WindowStatistics,
)

Rows = dict[type[keras.layers.Layer], LayerTraits]
# Activations whose integer kernels have a range of their own.
FIXED_RANGES = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# Those with an integer kernel. By identity: a function of another's may have a
# name of Keras's.
_ACTIVATIONS = {
    getattr(keras.activations, name): name
    for name in ("linear", "exponential", "gelu", *FIXED_RANGES)
}


def enlargement(operation: keras.Operation) -> Mapping[str, Any]:
    """Return how an operation rounds what it enlarges."""
    roundings = {"nearest": "copied", "bilinear": "interpolated"}
    return {"rounding": roundings.get(operation.interpolation)}


def _activation(layer: keras.Operation) -> Mapping[str, Any]:
    """Return the traits of the function of an `Activation`."""
    name = _ACTIVATIONS.get(layer.activation)
    rounding = "copied" if name == "linear" else "computed"
    return {
        "activation": layer.activation,
        "rounding": rounding if name else None,
        "fixed_range": FIXED_RANGES.get(name or ""),
        "problem": None if name else limits.of_activation,
    }


def _convolution(layer: keras.Operation) -> Mapping[str, Any]:
    return {"channels": "grouped" if layer.groups > 1 else "kernel"}


def _relu(layer: keras.Operation) -> Mapping[str, Any]:
    return {"homogeneous": layer.max_value is None and not layer.threshold}


_CONVOLUTION = LayerTraits(
    kernel="kernel",
    size_argument="filters",
    prunable=("channel",),
    channels="kernel",
)
_TRANSPOSED = replace(_CONVOLUTION, input_axis=-1, output_axis=-2)
_COMPUTED_CONVOLUTION = replace(
    _CONVOLUTION,
    prunable=("element", "channel"),
    rounding="computed",
    fuses_relu=True,
    equalizable=True,
    problem=limits.of_convolution,
    safe=True,
)
_DEPTHWISE = replace(
    _COMPUTED_CONVOLUTION,
    input_axis=-2,
    output_axis=-2,
    size_argument=None,
    channels="depthwise",
)
_SEPARABLE = replace(
    _CONVOLUTION, kernel="pointwise_kernel", channels="separable"
)
_DENSE = LayerTraits(
    kernel="kernel",
    kernel_quantizer="kernel",
    prunable=("element", "channel"),
    rounding="computed",
    fuses_relu=True,
    channels="kernel",
    safe=True,
)
# The converter refuses Dense kernels with ranges by channel, and transposed
# convolutions have one range in TFMOT as well.
_KERNELS: Rows = {
    layers.Conv1D: replace(
        _COMPUTED_CONVOLUTION,
        kernel_quantizer="kernel",
        batch_norm="lowering",
        by_configuration=_convolution,
    ),
    layers.Conv2D: replace(
        _COMPUTED_CONVOLUTION,
        kernel_quantizer="channel",
        batch_norm="converter",
        by_configuration=_convolution,
    ),
    layers.Conv3D: replace(_CONVOLUTION, by_configuration=_convolution),
    layers.Conv1DTranspose: _TRANSPOSED,
    layers.Conv2DTranspose: replace(
        _TRANSPOSED,
        prunable=("element", "channel"),
        kernel_quantizer="kernel",
        rounding="computed",
        batch_norm="lowering",
        problem=limits.of_transposed_convolution,
        safe=True,
    ),
    layers.Conv3DTranspose: _TRANSPOSED,
    layers.DepthwiseConv1D: replace(
        _DEPTHWISE,
        prunable=("channel",),
        kernel_quantizer="kernel",
        batch_norm="lowering",
        safe=False,
    ),
    layers.DepthwiseConv2D: replace(
        _DEPTHWISE, kernel_quantizer="depthwise", batch_norm="converter"
    ),
    layers.SeparableConv1D: _SEPARABLE,
    layers.SeparableConv2D: _SEPARABLE,
    layers.Dense: replace(
        _DENSE,
        size_argument="units",
        batch_norm="lowering",
        equalizable=True,
        problem=limits.of_dense,
    ),
    layers.EinsumDense: replace(
        _DENSE, size_argument="output_shape", problem=limits.of_einsum_dense
    ),
    layers.CategoryEncoding: LayerTraits(reads_indices=True),
    layers.Embedding: LayerTraits(
        kernel="embeddings",
        kernel_quantizer="kernel",
        rounding="copied",
        reads_indices=True,
        problem=limits.of_embedding,
        channels="embedding",
        safe=True,
    ),
}

# Of one value, for training alone or at inference as well.
_FUNCTION = LayerTraits(channels="elementwise")
_NOISE = replace(_FUNCTION, rounding="copied", training_only=True)
_FUNCTIONS: Rows = {
    layers.ActivityRegularization: LayerTraits(rounding="copied"),
    layers.AlphaDropout: _NOISE,
    layers.Dropout: replace(_NOISE, homogeneous=True, safe=True),
    **dict.fromkeys((layers.GaussianDropout, layers.GaussianNoise), _NOISE),
    layers.Identity: replace(_FUNCTION, rounding="copied", homogeneous=True),
    layers.SpatialDropout1D: _NOISE,
    layers.SpatialDropout2D: replace(_NOISE, safe=True),
    layers.SpatialDropout3D: replace(_NOISE, channels=None),
    layers.ELU: _FUNCTION,
    layers.LeakyReLU: replace(
        _FUNCTION, rounding="rectified", homogeneous=True, safe=True
    ),
    layers.PReLU: LayerTraits(
        kernel="alpha",
        kernel_quantizer="kernel",
        converter_rounds=True,
        rounding="computed",
        channels="slopes",
    ),
    layers.ReLU: replace(
        _FUNCTION,
        rounding="computed",
        problem=limits.of_relu,
        by_configuration=_relu,
        safe=True,
    ),
    layers.Rescaling: _FUNCTION,
    layers.Activation: LayerTraits(
        channels="activation", by_configuration=_activation, safe=True
    ),
    layers.Softmax: LayerTraits(
        rounding="computed",
        fixed_range=FIXED_RANGES["softmax"],
        float_by_one_input=True,
        problem=limits.of_softmax,
        channels="activation",
        safe=True,
    ),
}

# Of several tensors.
_SUM = LayerTraits(
    rounding="computed", fuses_relu=True, channels="joined", safe=True
)
_JOINS: Rows = {
    layers.Add: _SUM,
    layers.Average: LayerTraits(channels="joined"),
    layers.Concatenate: LayerTraits(
        rounding="joined", channels="concatenate", safe=True
    ),
    layers.Maximum: LayerTraits(rounding="joined", channels="joined"),
    layers.Minimum: LayerTraits(rounding="joined", channels="joined"),
    layers.Multiply: replace(_SUM, channels="product"),
    layers.Subtract: _SUM,
}

# From place to place, channel by channel or value by value.
_SPATIAL = LayerTraits(channels="spatial")
_MOVED = replace(_SPATIAL, rounding="copied")
_AVERAGED = replace(_SPATIAL, rounding="averaged")
_MEAN = replace(_SPATIAL, rounding="mean")
_ENLARGED = replace(
    _SPATIAL, by_configuration=enlargement, problem=limits.of_enlargement
)
_PLACES: Rows = {
    layers.AveragePooling1D: replace(_AVERAGED, safe=True),
    layers.AveragePooling2D: replace(_AVERAGED, safe=True),
    layers.AveragePooling3D: _SPATIAL,
    layers.Cropping1D: _MOVED,
    layers.Cropping2D: _MOVED,
    layers.Cropping3D: _MOVED,
    layers.GlobalAveragePooling1D: replace(_MEAN, safe=True),
    layers.GlobalAveragePooling2D: replace(_MEAN, safe=True),
    layers.GlobalAveragePooling3D: _MEAN,
    layers.GlobalMaxPooling1D: _MOVED,
    layers.GlobalMaxPooling2D: _MOVED,
    layers.GlobalMaxPooling3D: _MOVED,
    layers.MaxPooling1D: replace(_MOVED, homogeneous=True, safe=True),
    layers.MaxPooling2D: replace(_MOVED, homogeneous=True, safe=True),
    layers.MaxPooling3D: _SPATIAL,
    layers.UpSampling1D: _MOVED,
    layers.UpSampling2D: replace(_ENLARGED, safe=True),
    layers.UpSampling3D: _SPATIAL,
    layers.ZeroPadding1D: replace(_MOVED, homogeneous=True),
    layers.ZeroPadding2D: replace(_MOVED, homogeneous=True, safe=True),
    layers.ZeroPadding3D: _SPATIAL,
    layers.RepeatVector: LayerTraits(rounding="copied"),
    **dict.fromkeys(
        (layers.Flatten, layers.Reshape),
        LayerTraits(rounding="copied", channels="reshape", safe=True),
    ),
    layers.Permute: LayerTraits(
        rounding="copied", channels="transpose", safe=True
    ),
}

# Of images: what changes them at inference too, ...
_PREPARATIONS = (
    layers.AutoContrast,
    layers.ContrastLimitedAdaptiveHistogramEqualization,
)
_SIZED = (layers.CenterCrop, layers.RandomCrop, layers.Resizing)
# ... and all others of Keras's, which do so in training alone.
_AUGMENTATIONS = {
    kind
    for kind in vars(layers).values()
    if isinstance(kind, type) and issubclass(kind, layers.RandomFlip.__base__)
}.difference(_PREPARATIONS, _SIZED)
_IMAGES: Rows = {
    **dict.fromkeys(
        _PREPARATIONS,
        LayerTraits(problem=limits.of_preparation, channels="keep"),
    ),
    # Made of other layers by kbp.quantization.lowering.
    **dict.fromkeys(_SIZED, LayerTraits(channels="keep")),
    **dict.fromkeys(
        _AUGMENTATIONS,
        LayerTraits(rounding="copied", channels="keep", training_only=True),
    ),
}

_NORMALIZATIONS: Rows = {
    layers.BatchNormalization: LayerTraits(
        rounding="computed", fuses_relu=True, channels="batch_norm", safe=True
    ),
    # Their result depends on how many channels there are.
    **dict.fromkeys(
        (
            layers.AdditiveAttention,
            layers.Attention,
            layers.GroupQueryAttention,
            layers.MultiHeadAttention,
            layers.Normalization,
        ),
        LayerTraits(channels="keep"),
    ),
    **dict.fromkeys(
        (
            layers.GroupNormalization,
            layers.LayerNormalization,
            layers.RMSNormalization,
            layers.UnitNormalization,
        ),
        LayerTraits(channels="keep", problem=limits.of_statistics),
    ),
}

# Between the units of the data, of any range, and a network: they stay in
# float, and with them inputs of the model that they take, and outputs.
_UNITS = LayerTraits(rounding="float", open_range=True, float_by_one_input=True)
_OWN: Rows = {
    ChannelScale: LayerTraits(
        problem=limits.of_channel_scale, channels="channel_scale"
    ),
    GradientRange: replace(_NOISE, homogeneous=True),
    MajorityVote: LayerTraits(channels="keep"),
    NearestUpSampling2D: _ENLARGED,
    PositionEmbedding: LayerTraits(
        kernel="kernel",
        kernel_quantizer="kernel",
        rounding="computed",
        fuses_relu=True,
        channels="position",
    ),
    **dict.fromkeys(
        (Standardization, WindowNormalization, WindowSlice, WindowStatistics),
        _UNITS,
    ),
    **dict.fromkeys(
        (InverseStandardization, TableEncoding),
        replace(_UNITS, whole_range=True, channels="keep"),
    ),
}

ROWS: Rows = {
    layers.InputLayer: LayerTraits(safe=True),
    **_KERNELS,
    **_FUNCTIONS,
    **_JOINS,
    **_PLACES,
    **_IMAGES,
    **_NORMALIZATIONS,
    **_OWN,
}
