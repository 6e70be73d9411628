"""How layers with weights treat the channels of their inputs."""

import numpy as np
from keras import layers

from kbp.graph import values_of
from kbp.sparsity.channels.groups import KEPT
from kbp.sparsity.channels.tracing import Cut, shape_of, spread
from kbp.sparsity.channels.value_rules import is_elementwise, keeps_zero

# Attribute of the kernel, its axes of input and output channels, and the
# argument that counts the latter.
KERNELS = {
    layers.Dense: ("kernel", -2, -1, "units"),
    layers.EinsumDense: ("kernel", -2, -1, "output_shape"),
    layers.Conv1D: ("kernel", -2, -1, "filters"),
    layers.Conv2D: ("kernel", -2, -1, "filters"),
    layers.Conv3D: ("kernel", -2, -1, "filters"),
    layers.Conv1DTranspose: ("kernel", -1, -2, "filters"),
    layers.Conv2DTranspose: ("kernel", -1, -2, "filters"),
    layers.Conv3DTranspose: ("kernel", -1, -2, "filters"),
}
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def kernel_axes(layer) -> tuple[str, int, int, str] | None:
    """Return the layer's entry of `KERNELS`, if it can be cut by it."""
    if type(layer) not in KERNELS or getattr(layer, "groups", 1) > 1:
        return None
    if isinstance(layer, layers.EinsumDense):
        inputs, rest = layer.equation.split(",")
        kernel, outputs = rest.split("->")
        dense = f"{inputs[-1]}{outputs[-1]}", f"{inputs[:-1]}{outputs[-1]}"
        bias = layer.bias is None or layer.bias.shape == layer.kernel.shape[1:]
        if (kernel, outputs) != dense or not bias:
            return None
    return KERNELS[type(layer)]


def kernel_layer(trace, call, inputs):
    """Dense and convolutions: they read channels and give new ones."""
    (x,), layer = inputs, call.operation
    axes, vector = kernel_axes(layer), trace.vector(x)
    if axes is None or vector is None:
        return trace.keep_through(call, x)
    attribute, read_axis, given_axis, size = axes
    labels, zero = vector
    kernel = values_of(getattr(layer, attribute))
    kernel = np.moveaxis(kernel, (read_axis, given_axis), (-2, -1))
    nonzero = kernel.reshape(-1, *kernel.shape[-2:]).any(axis=0)
    nothing = zero | ~nonzero.any(axis=1)  # (channels read,)
    trace.read(labels, nothing)
    given = trace.labels.new(kernel.shape[-1])
    alone = is_elementwise(layer.activation)
    if not alone:  # a softmax sees all that the layer gives
        trace.labels.merge(given, KEPT)
    weights = {attribute: {read_axis: labels, given_axis: given}}
    zero = ~nonzero[~zero].any(axis=0)  # (channels given,)
    zero &= _bias(layer, weights, given)
    zero &= alone and keeps_zero(layer.activation)
    trace.cut(layer, Cut(weights, {size: given}))
    return spread(given, zero, shape_of(call.outputs[0]))


def depthwise(trace, call, inputs):
    """Depthwise convolutions: each channel gives its own."""
    (x,), layer = inputs, call.operation
    vector = trace.vector(x)
    if vector is None or not is_elementwise(layer.activation):
        return trace.keep_through(call, x)
    labels, zero = vector
    kernel = values_of(layer.kernel)  # (..., channels, multiplier)
    weights = {"kernel": {-2: labels}}
    given = np.repeat(labels, kernel.shape[-1])
    nonzero = kernel.reshape(-1, *kernel.shape[-2:]).any(axis=0)
    zero = (zero[:, None] | ~nonzero).ravel()
    zero &= _bias(layer, weights, given)
    zero &= keeps_zero(layer.activation)
    trace.cut(layer, Cut(weights))
    return spread(given, zero, shape_of(call.outputs[0]))


def separable(trace, call, inputs):
    """Depthwise, then a convolution of 1x1."""
    (x,), layer = inputs, call.operation
    vector = trace.vector(x)
    if vector is None or not is_elementwise(layer.activation):
        return trace.keep_through(call, x)
    labels, zero = vector
    kernel = values_of(layer.depthwise_kernel)
    read = np.repeat(labels, kernel.shape[-1])
    nonzero = kernel.reshape(-1, *kernel.shape[-2:]).any(axis=0)
    zero = (zero[:, None] | ~nonzero).ravel()
    point = values_of(layer.pointwise_kernel)
    point = point.reshape(point.shape[-2:]) != 0
    trace.read(read, zero | ~point.any(axis=1))
    given = trace.labels.new(point.shape[-1])
    weights = {
        "depthwise_kernel": {-2: labels},
        "pointwise_kernel": {-2: read, -1: given},
    }
    zero = ~point[~zero].any(axis=0)
    zero &= _bias(layer, weights, given)
    zero &= keeps_zero(layer.activation)
    trace.cut(layer, Cut(weights, {"filters": given}))
    return spread(given, zero, shape_of(call.outputs[0]))


def embedding(trace, call, inputs):
    """Embedding: indices give new channels."""
    layer = call.operation
    given = trace.labels.new(layer.output_dim)
    cut = Cut({"embeddings": {1: given}}, {"output_dim": given})
    trace.cut(layer, cut)
    zero = ~values_of(layer.embeddings).any(axis=0)
    given = trace.cuts[layer].sizes["output_dim"]
    return spread(given, zero, shape_of(call.outputs[0]))


def batch_norm(trace, call, inputs):
    """BatchNormalization: a factor and an offset for each channel."""
    (x,), layer = inputs, call.operation
    vector = trace.vector(x)
    if vector is None or layer.axis not in (-1, len(x.shape)):
        return trace.keep_through(call, x)
    labels, zero = vector
    mean, scale = values_of(layer.moving_mean), 1.0
    weights = {"moving_mean": {0: labels}, "moving_variance": {0: labels}}
    if layer.scale:
        weights["gamma"] = {0: labels}
        scale = values_of(layer.gamma)
    offset = -mean * scale
    if layer.center:
        weights["beta"] = {0: labels}
        deviation = np.sqrt(values_of(layer.moving_variance) + layer.epsilon)
        offset = offset + values_of(layer.beta) * deviation
    trace.cut(layer, Cut(weights))
    zero = (zero | (scale == 0)) & (offset == 0)
    return spread(labels, zero, shape_of(call.outputs[0]))


def channel_scale(trace, call, inputs):
    """ChannelScale: a factor for each channel."""
    (x,), layer = inputs, call.operation
    vector = trace.vector(x)
    if vector is None:
        return trace.keep_through(call, x)
    labels, zero = vector
    groups = labels.reshape(-1, layer.repeats)
    trace.labels.merge(groups, groups[:, :1])
    trace.cut(layer, Cut({"kernel": {0: groups[:, 0]}}))
    zero = zero | (np.repeat(values_of(layer.kernel), layer.repeats) == 0)
    return spread(labels, zero, x.shape)


def position(trace, call, inputs):
    """PositionEmbedding: adds a table of channels."""
    (x,), layer = inputs, call.operation
    vector = trace.vector(x)
    if vector is None:
        return trace.keep_through(call, x)
    labels, zero = vector
    trace.cut(layer, Cut({"kernel": {-1: labels}}))
    return spread(labels, zero & ~values_of(layer.kernel).any(axis=0), x.shape)


def _bias(layer, weights, labels):
    """Add the bias to the weights to cut, and say where it is zero."""
    if not layer.use_bias if hasattr(layer, "use_bias") else layer.bias is None:
        return True
    weights["bias"] = {0: labels}
    return values_of(layer.bias) == 0
