"""Convolutions with what follows them, as several architectures have them."""

from typing import Any

from keras import layers

from kbp._utils.types import Tensor


def convolve(
    x: Tensor,
    filters: int,
    name: str,
    kernel: dict[str, Any],
    kernel_size: int = 3,
    strides: int = 1,
) -> Tensor:
    """Apply a convolution without bias and batch normalization.

    Args:
        x: maps `(batch, height, width, channels)`.
        filters: number of channels of the result.
        name: what the layers' names begin with.
        kernel: of `kernel_options`.
        kernel_size: height and width of the kernel.
        strides: of its positions, in pixels.
    """
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        name=f"{name}_conv",
        **kernel,
    )(x)
    # 0.99, Keras's default, lags behind in short trainings.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def conv_block(
    x: Tensor,
    filters: int,
    name: str,
    kernel: dict[str, Any],
    kernel_size: int = 3,
    strides: int = 1,
) -> Tensor:
    """Apply a convolution, batch normalization and ReLU, see `convolve`."""
    x = convolve(x, filters, name, kernel, kernel_size, strides)
    return layers.ReLU(name=f"{name}_relu")(x)
