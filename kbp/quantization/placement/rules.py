"""Which tensors of a model meet a quantizer: the 8-bit rules as data.

LiteRT computes a convolution, its bias, a folded BatchNormalization and a
ReLU as one integer operation, so fake quantization stands behind the whole
pattern and not inside it. Operations that only move values keep the range of
what they move. Every other result is quantized once.
"""

from collections.abc import Container

import keras

from kbp.graph import Node
from kbp.layers import (
    ChannelScale,
    NearestUpSampling2D,
    PositionEmbedding,
    WindowNormalization,
    WindowStatistics,
)

layers = keras.layers

# Of each layer with a table of numbers to round: the kind of its quantizer
# and the name of the table. The converter refuses Dense kernels with ranges by
# channel, and transposed convolutions have one range in TFMOT as well.
KERNELS = {
    layers.Conv1D: ("kernel", "kernel"),
    layers.Conv2D: ("channel", "kernel"),
    layers.Conv2DTranspose: ("kernel", "kernel"),
    layers.Dense: ("kernel", "kernel"),
    layers.DepthwiseConv1D: ("kernel", "kernel"),
    layers.DepthwiseConv2D: ("depthwise", "kernel"),
    layers.EinsumDense: ("kernel", "kernel"),
    layers.Embedding: ("kernel", "embeddings"),
    PositionEmbedding: ("kernel", "kernel"),
}

ENLARGEMENTS = layers.UpSampling2D, NearestUpSampling2D, "Resize"

# Results of new values, each rounded once.
COMPUTING_LAYERS = (
    layers.Add,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.LeakyReLU,
    layers.Multiply,
    layers.PReLU,
    layers.ReLU,
    layers.Subtract,
)
COMPUTING_OPERATIONS = (
    "Absolute",
    "Add",
    "Divide",
    "Exp",
    "Gelu",
    "LeakyRelu",
    "Matmul",
    "Mean",
    "Multiply",
    "Subtract",
    "TrueDivide",
)

# Results that are a policy or a rearrangement of one input's values.
MOVING_LAYERS = (
    layers.ActivityRegularization,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.Dropout,
    layers.Embedding,
    layers.Flatten,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.Identity,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.Permute,
    layers.RandomFlip,
    layers.RepeatVector,
    layers.Reshape,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.UpSampling1D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
)
MOVING_OPERATIONS = (
    "ConvertToTensor",
    "DepthToSpace",
    "ExpandDims",
    "GetItem",
    "Reshape",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
)

# Results of several inputs' values, to which LiteRT gives one range.
JOINING_LAYERS = (layers.Concatenate, layers.Maximum, layers.Minimum)
JOINING_OPERATIONS = ("Concatenate", "Maximum", "Minimum")

# New values, but LiteRT gives them the range of the input.
AVERAGING_LAYERS = (layers.AveragePooling1D, layers.AveragePooling2D)

# Between the units of the data, of any range, and a network: they stay in
# float, and with them inputs of the model that they take, and outputs.
UNIT_LAYERS = (WindowNormalization, WindowStatistics)

# Activations whose integer kernels have a range of their own.
FIXED_RANGES = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# The others that have an integer kernel.
COMPUTED_ACTIVATIONS = ("exponential", "gelu")
_ACTIVATIONS = {
    getattr(keras.activations, name): name
    for name in ("linear", *COMPUTED_ACTIVATIONS, *FIXED_RANGES)
}

_WITH_SCALARS = (
    "Add",
    "Divide",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "TrueDivide",
)


def activation_of(operation) -> str | None:
    """Name the activation that a layer is, `None` if no rule knows it."""
    if type(operation) is layers.Softmax:
        return "softmax"
    function = getattr(operation, "activation", keras.activations.linear)
    # By identity: a function of another's may have a name of Keras's.
    return _ACTIVATIONS.get(function)


def is_moving(operation) -> bool:
    """Say whether an operation only moves values."""
    if _is(operation, *ENLARGEMENTS):
        return operation.interpolation == "nearest"
    if _is(operation, layers.Activation):
        return activation_of(operation) == "linear"
    return _is(operation, *MOVING_LAYERS, *MOVING_OPERATIONS)


def is_averaging(operation) -> bool:
    """Say whether a result is new, but has the range of the input."""
    if _is(operation, *ENLARGEMENTS):
        return operation.interpolation == "bilinear"
    return _is(operation, *AVERAGING_LAYERS)


def is_joining(operation) -> bool:
    """Say whether a result has values of several inputs."""
    return _is(operation, *JOINING_LAYERS, *JOINING_OPERATIONS)


def fixed_range(operation) -> tuple[float, float] | None:
    """Return the range of an activation that has one of its own."""
    if _is(operation, layers.Activation, layers.Softmax):
        return FIXED_RANGES.get(activation_of(operation))
    return None


def has_open_range(operation) -> bool:
    """Say whether LiteRT's converter can know no range of a float result."""
    return isinstance(operation, UNIT_LAYERS) or _is(operation, "Matmul")


def is_float_by_one_input(operation) -> bool:
    """Say whether one float input keeps all of a layer in float.

    Within other layers, what reads only the others could become integers.
    """
    return has_open_range(operation) or _is(operation, layers.Softmax)


def check(call: Node) -> None:
    """Raise a ValueError where the rules do not cover a use of a layer."""
    problem = _problem(call)
    if problem:
        raise refusal(call.operation, problem)


def check_inputs(call: Node) -> None:
    """Raise a ValueError where a layer is given numbers of a wrong type."""
    floats = [keras.backend.is_float_dtype(x.dtype) for x in call.inputs]
    if _is(call.operation, layers.Embedding):
        if any(floats):
            raise refusal(call.operation, "give its Input dtype='int32'")
    elif not all(floats) and not is_moving(call.operation):
        raise refusal(call.operation, "give the Input dtype='float32'")


def refusal(operation, problem: str) -> ValueError:
    """Return the error that names a layer and what to do about it."""
    return ValueError(
        f"Layer {operation.name} ({type(operation).__name__}) cannot be "
        f"quantized: {problem}; or leave it in float with "
        f"skip=[{operation.name!r}]."
    )


def fuses_forward(call: Node) -> bool:
    """Say whether the next operation takes this one's result unrounded."""
    if call.successor is None:
        return False
    following = call.successor.operation
    if _is(following, layers.BatchNormalization):
        return (
            _is(call.operation, layers.Conv2D, layers.DepthwiseConv2D)
            and activation_of(call.operation) == "linear"
        )
    return _is(following, layers.ReLU) and _takes_relu(call.operation)


def is_rounded_as_joined(call: Node, chosen: Container) -> bool:
    """Say whether a result is joined with others alone, perhaps moved first.

    LiteRT demands one range for the inputs and the output of a concatenation,
    and of a maximum. Rounding the output alone gives all of them its range. A
    join's own result may have values that are rounded already, so it is never
    left to the next one.

    Args:
        call: a use of a layer.
        chosen: layers that the user has decided about.
    """
    following = call.successor
    if (
        following is None
        or following.operation in chosen
        or is_joining(call.operation)
    ):
        return False
    if is_moving(following.operation):
        return is_rounded_as_joined(following, chosen)
    return is_joining(following.operation)


def _takes_relu(operation):
    """Say whether LiteRT computes a ReLU behind an operation with it."""
    kernels = {*KERNELS} - {layers.Conv2DTranspose, layers.Embedding}
    sums = layers.Add, layers.BatchNormalization, layers.Multiply
    return _is(
        operation,
        *(*kernels, *sums, layers.Subtract),
        *("Add", "Multiply", "Subtract"),
    )


def _problem(call):
    operation = call.operation
    if isinstance(operation, ChannelScale):
        return "take its channels out with kbp.sparsity.shrink first"
    if any(x.dtype == "float64" for x in call.outputs):
        return "use Python numbers, which do not make its result float64"
    if _is(operation, layers.BatchNormalization):
        found = call.producers and fuses_forward(call.producers[0])
        return None if found else "normalize the last axis"
    if type(operation) in KERNELS:
        return _problem_of_kernel(call)
    if _is(operation, layers.Activation):
        known = activation_of(operation)
        return None if known else "no 8-bit rule covers its activation"
    if _is(operation, layers.Softmax):
        whole = isinstance(operation.axis, int)
        return None if whole else "give it one axis"
    if _is(operation, layers.ReLU):
        return _problem_of_relu(operation)
    if _is(operation, "Resize") and operation.antialias:
        return "use antialias=False"
    if is_moving(operation) or is_averaging(operation):
        return None
    if _is(operation, *ENLARGEMENTS):
        return "use interpolation='nearest'"
    if _is(operation, *_WITH_SCALARS):
        return _problem_of_arithmetic(call)
    if is_joining(operation) or _is(
        operation, *COMPUTING_LAYERS, *COMPUTING_OPERATIONS
    ):
        return None
    return (
        "no 8-bit rule covers it; give `configs` a QuantizeConfig of it, "
        "replace it by layers that kbp.quantization.placement.rules names"
    )


def _problem_of_kernel(call):
    layer = call.operation
    if _is(layer, layers.Dense) and len(call.inputs[0].shape) > 4:
        return "flatten its input to four axes or fewer"
    if _is(layer, layers.Embedding) and layer.mask_zero:
        return "use mask_zero=False"
    if getattr(layer, "data_format", None) == "channels_first":
        return "use data_format='channels_last'"
    if _is(layer, layers.Conv2DTranspose) and max(layer.dilation_rate) > 1:
        return "use dilation_rate=1"
    if _is(layer, layers.EinsumDense):
        inputs, kernel, outputs = (
            {*letters}
            for letters in layer.equation.replace("->", ",")
            .replace("...", "")
            .split(",")
        )
        if kernel & inputs & outputs:
            return "an axis of its kernel is in both input and output"
        if not kernel & inputs or inputs - kernel - outputs:
            return "it contracts no axis of its kernel, or another one"
    return None


def _problem_of_relu(layer):
    if layer.negative_slope or layer.threshold:
        return "use ReLU without threshold, or LeakyReLU"
    if layer.max_value not in (None, 6):
        return "use max_value=6 or None"
    return None


def _problem_of_arithmetic(call):
    operation = call.operation
    numbers = [
        x for x in call.arguments if not isinstance(x, keras.KerasTensor)
    ]
    if any(getattr(x, "shape", ()) not in ((), (1,)) for x in numbers):
        return "use a layer for an array, such as Rescaling or Dense"
    if _is(operation, "Divide", "TrueDivide") and not (
        len(call.arguments) == 2
        and isinstance(call.arguments[0], keras.KerasTensor)
        and numbers
    ):
        return "LiteRT divides by numbers alone"
    return None


def _is(operation, *kinds):
    """Say whether an operation is of a layer's class, or has a class's name.

    A subclass may compute something else.
    """
    kind = type(operation)
    if isinstance(operation, layers.Layer):
        return kind in kinds
    return kind.__name__ in kinds
