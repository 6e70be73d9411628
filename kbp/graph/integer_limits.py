"""What LiteRT's integer kernels cannot compute of layers that they cover.

Each function takes a use of a layer and returns what a person has to change
about it, or `None`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kbp.graph.nodes import Node

LEAST_FACTOR = 1e-6  # LiteRT's converter rounds those below to 4e-9


def of_channel_scale(node: Node) -> str:
    """Refuse channels that a mask may still take."""
    return "take its channels out with kbp.sparsity.shrink first"


def of_statistics(node: Node) -> str:
    """Refuse what divides each position by a deviation of its own."""
    return (
        "eight bits do not hold the variances of positions of different "
        "sizes; use BatchNormalization"
    )


def of_distribution(node: Node) -> str:
    """Ask for what lets a layer take steps for examples."""
    return "give its input a fixed size, and no mask"


def of_preparation(node: Node) -> str:
    """Refuse what is done to images at inference, too."""
    return "apply it to the images before they enter the model"


def of_activation(node: Node) -> str:
    """Refuse an activation that has no integer kernel."""
    return "no 8-bit rule covers its activation"


def of_convolution(node: Node) -> str | None:
    """Ask for channels-last tensors."""
    if getattr(node.operation, "data_format", None) == "channels_first":
        return "use data_format='channels_last'"
    return None


def of_transposed_convolution(node: Node) -> str | None:
    """Refuse dilation."""
    if max(node.operation.dilation_rate) > 1:
        return of_convolution(node) or "use dilation_rate=1"
    return of_convolution(node)


def of_dense(node: Node) -> str | None:
    """Ask for tensors of at most four axes."""
    if len(node.inputs[0].shape) > 4:
        return "flatten its input to four axes or fewer"
    return None


def of_einsum_dense(node: Node) -> str | None:
    """Ask for the product of a Dense layer, up to the order of axes."""
    letters = node.operation.equation.replace("->", ",").replace("...", "")
    inputs, kernel, outputs = map(set, letters.split(","))
    if kernel & inputs & outputs:
        return "an axis of its kernel is in both input and output"
    if not kernel & inputs or inputs - kernel - outputs:
        return "it contracts no axis of its kernel, or another one"
    return None


def of_embedding(node: Node) -> str | None:
    """Refuse masks of time steps."""
    return "use mask_zero=False" if node.operation.mask_zero else None


def of_softmax(node: Node) -> str | None:
    """Ask for one axis."""
    whole = isinstance(node.operation.axis, int)
    return None if whole else "give it one axis"


def of_relu(node: Node) -> str | None:
    """Ask for ReLU or ReLU6."""
    layer = node.operation
    if layer.negative_slope or layer.threshold:
        return "use ReLU without threshold, or LeakyReLU"
    if layer.max_value not in (None, 6):
        return "use max_value=6 or None"
    return None


def of_resize(node: Node) -> str | None:
    """Refuse antialiasing."""
    if node.operation.antialias:
        return "use antialias=False"
    return of_enlargement(node)


def of_enlargement(node: Node) -> str | None:
    """Ask for an interpolation that has an integer kernel."""
    known = node.operation.interpolation in ("nearest", "bilinear")
    return None if known else "use interpolation='nearest'"


def of_arithmetic(node: Node) -> str | None:
    """Ask for Python numbers, not arrays, beside tensors."""
    if any(getattr(x, "shape", ()) not in ((), (1,)) for x in _constants(node)):
        return "use a layer for an array, such as Rescaling or Dense"
    return None


def of_product(node: Node) -> str | None:
    """Ask for a layer instead of a factor too small for the converter."""
    return of_arithmetic(node) or _of_factors(_constants(node))


def of_choice(node: Node) -> str | None:
    """Ask for a comparison, and for Python numbers beside tensors."""
    given = node.arguments[0] if node.arguments else None
    if isinstance(given, keras.KerasTensor) and (
        keras.backend.is_float_dtype(given.dtype)
    ):
        return "let it choose by a comparison, such as x != 0"
    return of_arithmetic(node)


def of_division(node: Node) -> str | None:
    """Ask for division by a number."""
    by_number = (
        len(node.arguments) == 2
        and isinstance(node.arguments[0], keras.KerasTensor)
        and _constants(node)
    )
    if by_number:
        with np.errstate(divide="ignore"):
            factors = [1.0 / np.asarray(x, float) for x in _constants(node)]
        return of_arithmetic(node) or _of_factors(factors)
    return of_arithmetic(node) or "LiteRT divides by numbers alone"


def _of_factors(factors: Sequence[Any]) -> str | None:
    sizes = np.abs([float(np.ravel(x)[0]) for x in factors])
    if np.any((sizes > 0) & (sizes < LEAST_FACTOR)):
        return (
            f"LiteRT multiplies by numbers of {LEAST_FACTOR:g} and more; use a "
            "Rescaling for smaller ones"
        )
    return None


def _constants(node: Node) -> list[Any]:
    return [x for x in node.arguments if not isinstance(x, keras.KerasTensor)]
