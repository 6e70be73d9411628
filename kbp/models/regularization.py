"""What the families share of keeping a network from learning by heart."""

from typing import Any

import keras

from kbp._utils.arguments import check_one_of, check_penalty, check_rate
from kbp.layers.composite import INITIALIZERS


def kernel_options(initializer: str, l2: float) -> dict[str, Any]:
    """Return what the layers of a model with kernels are made with.

    Args:
        initializer: one of `INITIALIZERS`, by its name in Keras.
        l2: factor of the sum of a kernel's squares in the loss; 0 for none.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> kernel_options("he_normal", 0.0)
    {'kernel_initializer': 'he_normal', 'kernel_regularizer': None}
    """
    check_one_of(INITIALIZERS, initializer=initializer)
    check_penalty(l2=l2)
    return {
        "kernel_initializer": initializer,
        "kernel_regularizer": keras.regularizers.L2(l2) if l2 else None,
    }


def depth_rates(stochastic_depth: float, blocks: int) -> list[float]:
    """Return the rate at which each residual block is dropped in training.

    It grows linearly with depth, `l / L * rate` of block `l` of `L`: what is
    computed first is needed by all that follows.

    Args:
        stochastic_depth: rate of the last block, in [0, 1).
        blocks: number of residual blocks.

    Raises:
        ValueError: the rate is out of range, or there is no block to drop.

    Example:
    >>> depth_rates(0.5, 4)
    [0.125, 0.25, 0.375, 0.5]

    Reference:
        Huang et al., Deep Networks with Stochastic Depth, 2016.
    """
    check_rate(stochastic_depth=stochastic_depth)
    if stochastic_depth and not blocks:
        raise ValueError(
            "Argument `stochastic_depth` must be 0 for a model without "
            f"residual blocks. Received: stochastic_depth={stochastic_depth}"
        )
    return [stochastic_depth * block / blocks for block in range(1, blocks + 1)]
