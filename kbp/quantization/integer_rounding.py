"""How LiteRT's integer operations round, where a plain rounding is not theirs.

Each function moves values to where a rounding to the nearest step then leaves
them. Gradients pass as if nothing had been moved.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any  # of any backend, or symbolic
HAIR = 1e-3  # of a step: halves in exact arithmetic are floats close by


def away(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Round halves away from the integer zero, as AVERAGE_POOL_2D does.

    It divides a sum of integers by their count, and does not know which integer
    stands for zero.

    Reference:
        `AveragePool` of LiteRT's `reference/integer_ops/pooling.h`.
    """
    raw = places + zero
    return ops.sign(raw) * ops.floor(ops.abs(raw) + 0.5 + HAIR) - zero


def up(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Round halves up, as XNNPACK's RESIZE_BILINEAR does.

    Reference:
        `f32-ibilinear` and `s8-ibilinear` of XNNPACK.
    """
    return ops.floor(places + 0.5 + HAIR)


def twice(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Round to a power of two of a step before the step, as a product.

    An integer product is multiplied by `ratio = f 2^e` with `f` in [1/2, 1): by
    `f`, and rounded, halves up, then by `2^e`, and rounded again, halves away
    from zero.

    Reference:
        `MultiplyByQuantizedMultiplier` of LiteRT's `common.h`.
    """
    # A logarithm of a power of two may fall short of its integer.
    exponent = ops.floor(ops.log2(ratio) + 1e-6) + 1
    parts = ops.maximum(2.0**-exponent, 1.0)
    fine = up(places * parts, zero, ratio) / parts
    return ops.sign(fine) * ops.floor(ops.abs(fine) + 0.5)


def even(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Round halves to even integers, as XNNPACK's MEAN does.

    There are halves, but by chance, only in the scale of what is averaged.

    Reference:
        `qs8-requantization` of XNNPACK: `lrintf` of a sum times a factor.
    """
    halves = ops.round(2.0 * places) / 2.0
    near = ops.abs(places - halves) < 0.1 * HAIR  # a mean may be of thousands
    raw = ops.where(near & (ratio == 1.0), halves, places) + zero
    return ops.round(raw) - zero


def fraction(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Multiply by a 256th, as XNNPACK's LEAKY_RELU does.

    Reference:
        `qs8-vlrelu` of XNNPACK.
    """
    whole = ops.round(places / ratio)
    return ops.floor(whole * ops.round(256.0 * ratio) / 256.0 + 0.5)


def nearest(places: Tensor, zero: Tensor, ratio: Tensor) -> Tensor:
    """Round to the nearest step, counted from zero.

    Fake quantization counts from the lower end of a range, where a float32
    tells a hundred-thousandth of a step no more.
    """
    return ops.round(places)


ARITHMETICS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (away, up, twice, even, fraction, nearest)
}


def moved(
    x: Tensor, name: str, scale: Tensor, zero: Tensor, unit: Tensor
) -> Tensor:
    """Round values as one of `ARITHMETICS` does.

    Args:
        x: tensor of what an operation gives, not rounded.
        name: of the arithmetic.
        scale: tensor `()`, the step between two numbers of the result; nothing
            is rounded where it is zero.
        zero: tensor `()`, the integer that stands for zero.
        unit: tensor `()` or of the shape of `x`: what one integer before the
            rounding stands for; the same as of `scale`.

    Returns:
        Tensor of the shape of `x`.
    """
    known = (scale > 0) & (unit > 0)
    step = ops.where(scale > 0, scale, 1.0)
    ratio = ops.where(known, unit / step, 1.0)
    rounded = ARITHMETICS[name](x / step, zero, ratio) * step
    return x + ops.stop_gradient(ops.where(known, rounded, x) - x)
