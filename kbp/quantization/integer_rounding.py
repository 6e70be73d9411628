"""How LiteRT's integer operations round, where a plain rounding is not theirs.

Each function moves values to where a rounding to the nearest step then leaves
them. Gradients pass as if nothing had been moved.
"""

from typing import Any

from keras import ops

Tensor = Any  # of any backend, or symbolic
HAIR = 1e-3  # of a step: halves in exact arithmetic are floats close by


def halves(x: Tensor, scale: Tensor, zero: Tensor, direction: str) -> Tensor:
    """Round means of integers, of which many are halves.

    LiteRT's AVERAGE_POOL_2D rounds them away from the integer zero: it does not
    know which integer stands for zero. XNNPACK's RESIZE_BILINEAR rounds up.

    Args:
        x: tensor of means of numbers on the grid.
        scale: tensor `()`, the step between two numbers; nothing is rounded
            where it is zero.
        zero: tensor `()`, the integer that stands for zero.
        direction: `"away"` or `"up"`.

    Reference:
        `AveragePool` of LiteRT's `reference/integer_ops/pooling.h`.
    """
    step = ops.where(scale > 0, scale, 1.0)
    places = x / step + zero
    if direction == "up":
        rounded = ops.floor(places + 0.5 + HAIR)
    else:
        rounded = ops.sign(places) * ops.floor(ops.abs(places) + 0.5 + HAIR)
    return _moved(x, ops.where(scale > 0, (rounded - zero) * step, x))


def twice(x: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
    """Round to a power of two of a step before the step, as a product.

    An integer product of scale `unit` is multiplied by `unit / scale = f 2^e`
    with `f` in [1/2, 1): by `f`, and rounded, then by `2^e`, and rounded again,
    halves away from zero.

    Args:
        x: tensor of multiples of `unit`.
        scale: tensor `()`, the step between two numbers of the result; nothing
            is rounded where it is zero.
        unit: tensor `()`, the product of the factors' scales.

    Reference:
        `MultiplyByQuantizedMultiplier` of LiteRT's `common.h`.
    """
    known = (scale > 0) & (unit > 0)
    step = ops.where(known, scale, 1.0)
    ratio = ops.where(known, unit / step, 1.0)
    parts = 2.0 ** -(ops.floor(ops.log2(ratio)) + 1)
    places = ops.round(x / step * parts) / parts
    rounded = ops.sign(places) * ops.floor(ops.abs(places) + 0.5)
    return _moved(x, ops.where(known & (parts > 1), rounded * step, x))


def _moved(x: Tensor, to: Tensor) -> Tensor:
    return x + ops.stop_gradient(to - x)
