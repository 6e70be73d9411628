"""U-Net, which segments images, and its form with attention gates."""

from typing import Any

import keras
from keras import layers

from kbp._utils.arguments import (
    check_image,
    check_integer,
    check_one_of,
    check_rate,
)
from kbp._utils.types import Tensor
from kbp.layers.composite import GLOROT
from kbp.models.blocks import conv_block, convolve
from kbp.models.registry import register_model
from kbp.models.regularization import kernel_options


@register_model("unet")
def UNet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    head: str = "segmentation",
    width: int = 16,
    num_levels: int = 4,
    gates: bool = False,
    dropout: float = 0.0,
    l2: float = 0.0,
    initializer: str = "he_normal",
    name: str = "unet",
) -> keras.Model:
    """Build a U-Net, which labels each pixel of an image.

        down(k) = conv(conv(pool(down(k-1))))
        up(k)   = conv(conv([down(k), enlarge(up(k+1))]))
        y       = W up(0) + b

    Level `k` has `width * 2^k` channels at `1 / 2^k` of the input's size.
    Convolutions are followed by BatchNormalization and ReLU; maps are enlarged
    by transposed convolutions.

    Args:
        input_shape: `(height, width, channels)`; height and width divisible by
            `2^num_levels`.
        num_classes: number of classes, two or more.
        head: `"segmentation"`.
        width: number of channels of the finest level.
        num_levels: how often the image is halved, from 1 to 16.
        gates: whether each skip passes through an attention gate, one number in
            [0, 1] for each pixel, which the enlarged map has a say in.
        dropout: rate in [0, 1) before the layer of logits.
        l2: factor of the squares of all kernels in the loss.
        initializer: of the convolutions' kernels, such as `"he_normal"`, as
            Keras names them; those without ReLU have Glorot's.
        name: the model's name.

    Returns:
        A functional model `(batch, height, width, channels)` to logits
        `(batch, height, width, num_classes)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.UNet((64, 64, 1), 2, width=8)
    >>> model.output_shape
    (None, 64, 64, 2)

    Reference:
        Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image
        Segmentation, 2015; Oktay et al., Attention U-Net: Learning Where to
        Look for the Pancreas, 2018, with the gates of its published code.
    """
    check_one_of(("segmentation",), head=head)
    check_integer(2, num_classes=num_classes)
    check_integer(width=width)
    check_one_of(range(1, 17), num_levels=num_levels)
    check_rate(dropout=dropout)
    stride = 2**num_levels
    check_image(input_shape, stride)
    kernel = kernel_options(initializer, l2)
    linear = kernel | {"kernel_initializer": GLOROT}
    inputs = x = keras.Input(input_shape, name="image")
    skips = []
    for level in range(num_levels):
        x = convolve_twice(x, width * 2**level, f"down{level}", kernel)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
    x = convolve_twice(x, width * stride, "bottom", kernel)
    for level, skip in reversed([*enumerate(skips)]):
        filters, part = width * 2**level, f"up{level}"
        x = enlarge(x, filters, part, linear)
        if gates:
            skip = _gated(skip, x, f"{part}_gate", kernel)
        x = layers.Concatenate(name=f"{part}_join")([skip, x])
        x = convolve_twice(x, filters, part, kernel)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="dropout")(x)
    outputs = layers.Conv2D(num_classes, 1, name="logits", **linear)(x)
    return keras.Model(inputs, outputs, name=name)


def convolve_twice(
    x: Tensor, filters: int, name: str, kernel: dict[str, Any]
) -> Tensor:
    """Apply two 3x3 convolutions with ReLU."""
    for part in ("first", "second"):
        x = conv_block(x, filters, f"{name}_{part}", kernel)
    return x


def enlarge(
    x: Tensor, filters: int, name: str, kernel: dict[str, Any]
) -> Tensor:
    """Apply a transposed convolution, which doubles height and width."""
    return layers.Conv2DTranspose(
        filters, 2, 2, name=f"{name}_enlarge", **kernel
    )(x)


def _gated(
    skip: Tensor, above: Tensor, name: str, kernel: dict[str, Any]
) -> Tensor:
    """Return a skip times one number for each pixel, from both maps."""
    filters = max(1, skip.shape[-1] // 2)
    x = layers.Add(name=f"{name}_add")(
        [
            convolve(skip, filters, f"{name}_skip", kernel, 1),
            convolve(above, filters, f"{name}_above", kernel, 1),
        ]
    )
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = convolve(x, 1, f"{name}_score", kernel, 1)
    x = layers.Activation("sigmoid", name=f"{name}_sigmoid")(x)
    return layers.Multiply(name=f"{name}_multiply")([skip, x])
