"""How layers and operations without weights treat channels."""

import functools

import keras
import numpy as np
from keras import layers, ops

from kbp.sparsity.channels.tracing import (
    Channels,
    Cut,
    combine,
    compact,
    shape_of,
    spread,
)

_FUNCTIONS = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus"),
    *("softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh"),
    *("tanh_shrink", "threshold"),
)
ELEMENTWISE_ACTIVATIONS = {getattr(keras.activations, n) for n in _FUNCTIONS}
ELEMENTWISE_OPERATIONS = {
    *(name.title().replace("_", "") for name in _FUNCTIONS),
    *(
        "Absolute",
        "Abs",
        "Cast",
        "Clip",
        "ConvertToTensor",
        "Exp",
        "Identity",
        "Negative",
    ),
    *("Sqrt", "Square"),
}


def is_elementwise(activation) -> bool:
    """Say whether an activation treats each value alone."""
    return activation in ELEMENTWISE_ACTIVATIONS


def keeps_zero(function, rank: int = 2) -> bool:
    """Say whether an elementwise function of zero is zero."""
    value = ops.convert_to_numpy(function(ops.zeros((1,) * rank)))
    return not np.any(value)


def elementwise(trace, call, inputs):
    """Functions of one value."""
    (x,), operation = inputs, call.operation
    bounds = ("scale", "offset", "x_min", "x_max")  # of Rescaling and clip
    if any(np.ndim(getattr(operation, name, 0)) for name in bounds):
        return None
    if isinstance(operation, layers.Activation):
        operation = operation.activation
    if keeps_zero(operation, len(call.inputs[0].shape)):
        return x
    return Channels(x.labels, np.broadcast_to(False, x.shape))


def activation(trace, call, inputs):
    """Layers Activation and Softmax."""
    function = call.operation
    if isinstance(function, layers.Activation):
        function = function.activation
        if is_elementwise(function):
            return elementwise(trace, call, inputs)
    if function is not keras.activations.softmax and not isinstance(
        function, layers.Softmax
    ):
        return None
    return softmax(trace, call, inputs)


def softmax(trace, call, inputs):
    """Softmax over the last axis; labels along others stay as they are."""
    (x,) = inputs
    if getattr(call.operation, "axis", -1) not in (-1, len(x.shape)):
        return None
    (labels,) = compact(x.labels)
    roots = trace.labels.roots(labels)
    if (roots != roots[..., :1]).any():
        return trace.keep_through(call, x)
    return Channels(x.labels, np.broadcast_to(False, x.shape))


def joined(trace, call, inputs, zero_of=np.logical_and):
    """Add, maximum, multiply, ...: whole tensors, value by value."""
    shape = shape_of(call.outputs[0])
    constants = [
        x
        for x in keras.tree.flatten(call.arguments)
        if not isinstance(x, keras.KerasTensor)
    ]
    if any(np.ndim(x) for x in constants):
        return None
    if any(len(x.shape) != len(shape) or not shape for x in inputs):
        return None
    whole = []
    for x in inputs:
        if x.shape[-1] == shape[-1]:
            whole.append(x)
        else:  # one value for all channels
            trace.keep(x)
    labels = [np.broadcast_to(x.labels, shape) for x in whole]
    for other in labels[1:]:
        trace.labels.merge(*compact(labels[0], other))
    zeros = [x.zero for x in inputs] + [np.asarray(x == 0) for x in constants]
    zero = combine(
        lambda *parts: functools.reduce(zero_of, parts), zeros, shape
    )
    return Channels(labels[0], zero)


product = functools.partial(joined, zero_of=np.logical_or)


def spatial(trace, call, inputs):
    """From map to map, channel by channel."""
    (x,), shape = inputs, shape_of(call.outputs[0])
    vector = trace.vector(x)
    if vector is None or shape[-1] != x.shape[-1]:
        return trace.keep_through(call, x)
    return spread(*vector, shape)


def mean(trace, call, inputs):
    """Mean over other axes than the channels'."""
    axes, rank = call.operation.axis, len(call.inputs[0].shape)
    axes = [a % rank for a in ([axes] if isinstance(axes, int) else axes or ())]
    if not axes or not {*axes} <= {*range(1, rank - 1)}:
        return None
    return spatial(trace, call, inputs)


def reshape(trace, call, inputs):
    """Flatten and Reshape: a row-major order of the same values.

    An axis that is split into heads and features stays rectangular: a head
    goes whole or not at all.
    """
    (x,), shape = inputs, shape_of(call.outputs[0])
    if x.labels.size != np.prod(shape, dtype=int):
        return trace.keep_through(call, x)
    labels = trace.labels.roots(x.labels).reshape(shape)
    varying = [
        axis
        for axis in range(len(shape))
        if (labels != labels.take([0], axis)).any()
    ]
    for axis in varying[1:]:
        trace.labels.merge(labels, labels.take([0], axis))
        labels = np.broadcast_to(labels.take([0], axis), shape)
    if isinstance(call.operation, layers.Reshape):
        trace.cut(call.operation, Cut({}, {"target_shape": labels}))
    return Channels(labels, x.zero.reshape(shape))


def transpose(trace, call, inputs):
    """Permute and transpose."""
    (x,), operation = inputs, call.operation
    axes = getattr(operation, "dims", None) or (operation.axes or (1,))[1:]
    axes = [axis % (len(x.shape) + 1) - 1 for axis in axes]
    if sorted(axes) != list(range(len(x.shape))):
        return None
    return Channels(x.labels.transpose(axes), x.zero.transpose(axes))


def concatenate(trace, call, inputs):
    """Concatenation along any axis."""
    rank = len(inputs[0].shape)
    axis = call.operation.axis % (rank + 1) - 1
    if axis < 0:
        return None
    parts = [x.labels for x in inputs], [x.zero for x in inputs]
    if axis == rank - 1:
        vectors = [trace.vector(x) for x in inputs]
        if None not in vectors:
            labels, zero = map(np.concatenate, zip(*vectors, strict=True))
            return spread(labels, zero, shape_of(call.outputs[0]))
        return Channels(*(np.concatenate(part, axis) for part in parts))
    first, *others = parts[0]
    for other in others:  # along the other axes they are one
        trace.labels.merge(*(x.take([0], axis) for x in (first, other)))
    return Channels(*(np.concatenate(part, axis) for part in parts))


def matmul(trace, call, inputs):
    """`(..., m, k)` times `(..., k, n)`: a sum over `k`."""
    a, b = inputs
    if len(a.shape) != len(b.shape) or len(a.shape) < 2:
        return None
    vary = [[_varies(trace, x, axis) for axis in (-2, -1)] for x in (a, b)]
    if any(map(any, vary)):  # more than heads differ
        trace.keep(a)
        return trace.keep_through(call, b)
    heads = [x.labels[..., :1, :1] for x in (a, b)]
    trace.labels.merge(*heads)
    # A sum is zero where one side of each of its products is.
    zero = np.logical_or(
        a.zero.all(axis=-1, keepdims=True), b.zero.all(axis=-2, keepdims=True)
    )
    shape = shape_of(call.outputs[0])
    return Channels(
        np.broadcast_to(heads[0], shape), np.broadcast_to(zero, shape)
    )


def _varies(trace, x, axis):
    roots = trace.labels.roots(compact(x.labels)[0])
    return (roots != roots.take([0], axis)).any()
