"""Which tensors of a model meet a quantizer: the 8-bit rules as data.

LiteRT computes a convolution, its bias, a folded BatchNormalization and a
ReLU as one integer operation, so fake quantization stands behind the whole
pattern and not inside it. Operations that only move values keep the range of
what they move. Every other result is quantized once.
"""

import keras

from kbp.graph import Call
from kbp.layers import ChannelScale, PositionEmbedding

layers = keras.layers

# The kernel's quantizer. Dense kernels have one range for the whole tensor,
# because the converter refuses ranges by channel there.
KERNELS = {
    layers.Dense: "kernel",
    layers.Conv2D: "channel",
    PositionEmbedding: "kernel",
}

# Results of new values, each rounded once.
COMPUTING_LAYERS = (
    layers.Add,
    layers.Concatenate,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.ReLU,
)
COMPUTING_OPERATIONS = ("Add", "Matmul")

# Results that are a choice or a rearrangement of the inputs' values.
MOVING_LAYERS = (
    layers.Dropout,
    layers.Flatten,
    layers.MaxPooling2D,
    layers.Permute,
    layers.Reshape,
    layers.UpSampling2D,
    layers.ZeroPadding2D,
)
MOVING_OPERATIONS = ("Reshape", "Resize", "Transpose")

# Activations whose integer kernels have a range of their own.
FIXED_RANGES = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# New values, but LiteRT gives them the range of the input.
AVERAGING_LAYERS = (layers.AveragePooling2D,)

FUSED_ACTIVATIONS = ("linear", "relu")
_ACTIVATIONS = {
    getattr(keras.activations, name): name
    for name in (*FUSED_ACTIVATIONS, *FIXED_RANGES)
}


def activation_of(operation) -> str | None:
    """Name the activation that a layer applies, `None` if no rule knows it."""
    if isinstance(operation, layers.ReLU):
        return "relu"
    if isinstance(operation, layers.Softmax):
        return "softmax"
    function = getattr(operation, "activation", keras.activations.linear)
    # By identity: a function of another's may have a name of Keras's.
    return _ACTIVATIONS.get(function)


def is_moving(operation) -> bool:
    """Say whether an operation only moves values."""
    return (
        isinstance(operation, MOVING_LAYERS)
        or _is_operation(operation, MOVING_OPERATIONS)
        or (
            isinstance(operation, layers.Activation)
            and activation_of(operation) == "linear"
        )
    )


def is_averaging(operation) -> bool:
    """Say whether a result is new, but has the range of the input."""
    return isinstance(operation, AVERAGING_LAYERS)


def is_relu(operation) -> bool:
    """Say whether an operation is a ReLU that LiteRT fuses with its input."""
    return (
        isinstance(operation, layers.ReLU | layers.Activation)
        and activation_of(operation) == "relu"
    )


def is_adding(operation) -> bool:
    """Say whether an operation adds whole tensors."""
    return isinstance(operation, layers.Add) or _is_operation(
        operation, ("Add",)
    )


def has_fixed_range(operation) -> bool:
    """Say whether an operation is an activation with a range of its own."""
    return (
        isinstance(operation, layers.Activation | layers.Softmax)
        and activation_of(operation) in FIXED_RANGES
    )


def check(call: Call) -> None:
    """Raise a ValueError where the rules do not cover a use of a layer."""
    operation = call.operation
    problem = _problem(call)
    if problem:
        raise ValueError(
            f"Layer {operation.name} ({type(operation).__name__}) cannot be "
            f"quantized: {problem}."
        )


def fuses_forward(call: Call) -> bool:
    """Say whether the next operation takes this one's result unrounded."""
    if call.successor is None:
        return False
    following = call.successor.operation
    if isinstance(following, layers.BatchNormalization):
        return _is_linear_convolution(call.operation)
    if is_relu(following):
        return _takes_fused_relu(call.operation)
    return False


def is_rounded_by_concatenate(call: Call) -> bool:
    """Say whether a result goes into a Concatenate alone, perhaps moved.

    LiteRT demands one range for the inputs and the output of a
    concatenation. Rounding the output alone gives all of them its range.
    """
    following = call.successor
    if following is None:
        return False
    if is_moving(following.operation):
        return is_rounded_by_concatenate(following)
    return isinstance(following.operation, layers.Concatenate)


def _takes_fused_relu(operation):
    return (
        isinstance(operation, layers.BatchNormalization)
        or is_adding(operation)
        or (
            isinstance(operation, layers.Dense | layers.Conv2D)
            and activation_of(operation) == "linear"
        )
    )


def _is_linear_convolution(operation):
    return (
        isinstance(operation, layers.Conv2D)
        and activation_of(operation) == "linear"
    )


def _problem(call):
    operation = call.operation
    if isinstance(operation, layers.BatchNormalization):
        if call.producers and fuses_forward(call.producers[0]):
            return None
        return (
            "it must directly follow a Conv2D without activation whose result "
            "nothing else uses; fold it into the layer before it, or move it"
        )
    if isinstance(operation, layers.UpSampling2D) or _is_operation(
        operation, ("Resize",)
    ):
        if operation.interpolation != "nearest":
            return "use interpolation='nearest' and a convolution behind it"
        return None
    if isinstance(operation, layers.ReLU):
        plain = not operation.negative_slope and not operation.threshold
        if not plain or operation.max_value is not None:
            return "use a plain ReLU"
        return None
    if type(operation) in KERNELS or isinstance(operation, layers.Activation):
        if activation_of(operation) is not None:
            return None
        allowed = ", ".join(_ACTIVATIONS.values())
        return f"use one of Keras's activations {allowed}"
    known = (*COMPUTING_LAYERS, *MOVING_LAYERS, *AVERAGING_LAYERS)
    if isinstance(operation, (*known, layers.Softmax)) or _is_operation(
        operation, (*COMPUTING_OPERATIONS, *MOVING_OPERATIONS)
    ):
        return None
    if isinstance(operation, ChannelScale):
        return "take its channels out with kbp.sparsity.shrink first"
    return (
        "no 8-bit rule covers it; replace it by layers that "
        "kbp.quantization.rules names, or export the model in float32"
    )


def _is_operation(operation, names):
    return (
        not isinstance(operation, layers.Layer)
        and type(operation).__name__ in names
    )
