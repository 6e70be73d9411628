"""What stands for the derivative of a spike."""

import math
from collections.abc import Callable

from keras import ops

from kbp._utils.arguments import check_limit, check_one_of, check_positive
from kbp._utils.types import Tensor


def arctan(x: Tensor, slope: float) -> Tensor:
    """Return an arcus tangent, over pi, of pi / 2 slope x.

    Its derivative is slope / 2 / (1 + (pi / 2 slope x)^2), as in Fang et al.,
    2021.
    """
    return ops.arctan(math.pi / 2 * slope * x) / math.pi


def fast_sigmoid(x: Tensor, slope: float) -> Tensor:
    """Give x / (1 + slope |x|).

    Its derivative is 1 / (1 + slope |x|)^2, as in Zenke and Ganguli, 2018.
    """
    return x / (1 + slope * ops.abs(x))


def triangle(x: Tensor, slope: float) -> Tensor:
    """Give slope x (1 - slope |x| / 2), from -1 / slope to 1 / slope.

    Its derivative is slope max(0, 1 - slope |x|), as in Bellec et al., 2018.
    """
    x = ops.clip(slope * x, -1, 1)
    return x * (1 - ops.abs(x) / 2)


SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {
    function.__name__: function for function in (arctan, fast_sigmoid, triangle)
}


def spike(x: Tensor, surrogate: str = "arctan", slope: float = 2.0) -> Tensor:
    """Return 1 where a number is 0 or more, else 0, with a useful derivative.

    The derivative of the step is 0 nearly everywhere. Backward, that of a
    smooth function `g` takes its place:

    | surrogate        | g'(x)                               |
    | ---------------- | ----------------------------------- |
    | `"arctan"`       | `slope / 2 / (1 + (pi slope x/2)^2)` |
    | `"fast_sigmoid"` | `1 / (1 + slope abs(x))^2`          |
    | `"triangle"`     | `slope max(0, 1 - slope abs(x))`    |

    Args:
        x: tensor of floats, how far a potential is above its threshold.
        surrogate: a name of the table.
        slope: positive; how narrow `g'` is.

    Returns:
        Tensor of zeros and ones, of the shape and type of `x`.

    Raises:
        ValueError: another name, or no positive slope.

    Reference:
        Neftci, Mostafa and Zenke, Surrogate Gradient Learning in Spiking
        Neural Networks, 2019.

    Example:
    >>> import kbp, keras
    >>> x = keras.ops.array([-0.5, 0.0, 0.5])
    >>> kbp.spiking.spike(x).numpy()
    array([0., 1., 1.], dtype=float32)
    """
    check_surrogate(surrogate, slope)
    smooth = SURROGATES[surrogate](x, slope)
    # The difference is 0, and has the derivative of its first part.
    step = ops.stop_gradient(ops.cast(x >= 0, x.dtype))
    return step + (smooth - ops.stop_gradient(smooth))


def check_surrogate(surrogate: str, slope: float) -> None:
    """Raise a ValueError for another name, or a slope that is not positive."""
    check_one_of(tuple(SURROGATES), surrogate=surrogate)
    check_limit(slope=slope)
    check_positive(slope=slope)
