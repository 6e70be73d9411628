"""How each kind of layer treats the channels of its inputs.

A rule takes the trace, the call and the inputs' channels, and returns the
output's, or `None` if it does not cover the call. Operations that only move
values, as reshaping does, move the labels in the same way; those that add or
multiply values of two tensors merge their labels; those that sum over channels
read them and begin new ones.
"""

from collections.abc import Callable

import keras
from keras import layers

from kbp import graph
from kbp.layers import ChannelScale, NearestUpSampling2D, PositionEmbedding
from kbp.sparsity.channels import value_rules as values
from kbp.sparsity.channels import weight_rules as weights
from kbp.sparsity.channels.tracing import Trace, compact, kept, shape_of


def keep(trace, call, inputs):
    """Layers that see all channels at once."""
    for x in inputs:
        trace.keep(x)
    return kept(shape_of(call.outputs[0]))


LAYER_RULES = {
    **dict.fromkeys(weights.KERNELS, weights.kernel_layer),
    **dict.fromkeys(weights.DEPTHWISE, weights.depthwise),
    **dict.fromkeys(weights.SEPARABLE, weights.separable),
    layers.Embedding: weights.embedding,
    layers.BatchNormalization: weights.batch_norm,
    ChannelScale: weights.channel_scale,
    NearestUpSampling2D: values.spatial,
    PositionEmbedding: weights.position,
    layers.AlphaDropout: values.elementwise,
    layers.Dropout: values.elementwise,
    layers.ELU: values.elementwise,
    layers.GaussianDropout: values.elementwise,
    layers.GaussianNoise: values.elementwise,
    layers.Identity: values.elementwise,
    layers.LeakyReLU: values.elementwise,
    layers.ReLU: values.elementwise,
    layers.Rescaling: values.elementwise,
    layers.SpatialDropout1D: values.elementwise,
    layers.SpatialDropout2D: values.elementwise,
    layers.Activation: values.activation,
    layers.Softmax: values.activation,
    layers.Add: values.joined,
    layers.Average: values.joined,
    layers.Maximum: values.joined,
    layers.Minimum: values.joined,
    layers.Subtract: values.joined,
    layers.Multiply: values.product,
    **{
        getattr(layers, f"{kind}{rank}D"): values.spatial
        for rank in (1, 2, 3)
        for kind in (
            *("AveragePooling", "MaxPooling", "UpSampling", "Cropping"),
            *("ZeroPadding", "GlobalAveragePooling", "GlobalMaxPooling"),
        )
    },
    layers.Flatten: values.reshape,
    layers.Reshape: values.reshape,
    layers.Permute: values.transpose,
    layers.Concatenate: values.concatenate,
    # Their result depends on how many channels there are.
    layers.AdditiveAttention: keep,
    layers.Attention: keep,
    layers.GroupNormalization: keep,
    layers.GroupQueryAttention: keep,
    layers.LayerNormalization: keep,
    layers.MultiHeadAttention: keep,
    layers.Normalization: keep,
    layers.RMSNormalization: keep,
    layers.UnitNormalization: keep,
}
OPERATION_RULES = {
    **dict.fromkeys(values.ELEMENTWISE_OPERATIONS, values.elementwise),
    "Add": values.joined,
    "Maximum": values.joined,
    "Minimum": values.joined,
    "Subtract": values.joined,
    "Multiply": values.product,
    "Softmax": values.softmax,
    "Mean": values.mean,
    "Resize": values.spatial,
    "Reshape": values.reshape,
    "Transpose": values.transpose,
    "Concatenate": values.concatenate,
    "Matmul": values.matmul,
}
OF_MANY = (
    keep,
    values.joined,
    values.product,
    values.concatenate,
    values.matmul,
)
# Zeros that come in in all inputs go out as zeros.
ZERO_KEEPING = (
    weights.channel_scale,
    values.joined,
    values.spatial,
    values.mean,
    values.reshape,
    values.transpose,
    values.concatenate,
)


def trace(model: keras.Model) -> Trace:
    """Follow the channels through a flat functional model."""
    result = Trace(graph.nodes(model))
    for number, call in enumerate(result.calls):
        # What is true or false is a mask of time steps.
        inputs = [result.of(x) for x in call.inputs if x.dtype != "bool"]
        rule = rule_of(call)
        covered = rule in OF_MANY or len(inputs) == 1
        outputs = rule(result, call, inputs) if rule and covered else None
        if outputs is None:
            outputs = _unknown(result, call, inputs)
        for x in call.outputs:
            channels = outputs if len(call.outputs) == 1 else kept(shape_of(x))
            result.tensors[id(x)] = channels
            if call.is_output:
                result.keep(channels)
        if rule is values.reshape:
            result.reshapes[number] = outputs.labels
    return result


def rule_of(call: graph.Node) -> Callable | None:
    """Return the rule for a call, or `None` if there is none."""
    operation = call.operation
    if getattr(operation, "data_format", None) == "channels_first":
        return None
    if isinstance(operation, layers.Layer):
        return LAYER_RULES.get(type(operation))
    return OPERATION_RULES.get(type(operation).__name__)


def _unknown(trace, call, inputs):
    for x in inputs:
        labels, zero = compact(x.labels, x.zero)
        trace.unknown.append(
            (call.operation.name, labels.ravel(), zero.ravel())
        )
    return kept(shape_of(call.outputs[0]))
