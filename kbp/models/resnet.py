"""ResNet for small images: residual blocks of two convolutions."""

from typing import Any

import keras
from keras import layers

from kbp._utils.arguments import check_integer, check_rate
from kbp._utils.types import Tensor
from kbp.layers.composite import GLOROT
from kbp.models.blocks import conv_block, convolve
from kbp.models.registry import register_model
from kbp.models.regularization import depth_rates, kernel_options


@register_model("resnet")
def ResNet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    width: int = 16,
    num_stages: int = 3,
    num_blocks: int = 3,
    patch_size: int = 1,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    l2: float = 0.0,
    initializer: str = "he_normal",
    name: str = "resnet",
) -> keras.Model:
    """Build a residual network, which classifies small images.

        x(b+1) = relu(x(b) + norm(W2 relu(norm(W1 x(b)))))

    Stage `k` has `num_blocks` such blocks with `width * 2^k` channels at
    `1 / (patch_size * 2^k)` of the input's size; where channels or sizes
    change, the skip is a 1x1 convolution. Along the longest path lie
    `2 * num_stages * num_blocks + 2` layers with weights: 20 by default.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: number of classes, two or more.
        width: number of channels of the first stage.
        num_stages: number of stages.
        num_blocks: number of residual blocks in each of them.
        patch_size: stride of the first convolution; with 2, the network does a
            quarter of the work.
        dropout: rate in [0, 1) before the layer of logits.
        stochastic_depth: rate in [0, 1) at which the last residual block is
            dropped in training, those before it less, see `depth_rates`.
        l2: factor of the squares of all kernels in the loss.
        initializer: of the convolutions' kernels, such as `"he_normal"`, as
            Keras names them; the last layer's is Glorot's.
        name: the model's name.

    Returns:
        A functional model `(batch, height, width, channels)` to logits
        `(batch, num_classes)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.ResNet((32, 32, 3), 10, num_blocks=1)
    >>> model.output_shape
    (None, 10)

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2016, with its
        projections (option B) in place of zeros.
    """
    check_integer(2, num_classes=num_classes)
    check_integer(
        width=width,
        num_stages=num_stages,
        num_blocks=num_blocks,
        patch_size=patch_size,
    )
    check_rate(dropout=dropout)
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), fixed. "
            f"Received: input_shape={input_shape}"
        )
    kernel = kernel_options(initializer, l2)
    rates = iter(depth_rates(stochastic_depth, num_stages * num_blocks))
    inputs = keras.Input(input_shape, name="image")
    size = 3 if patch_size == 1 else 2 * patch_size
    x = conv_block(inputs, width, "stem", kernel, size, patch_size)
    for stage in range(num_stages):
        for block in range(num_blocks):
            x = _residual_block(
                x,
                width * 2**stage,
                f"stage{stage}_block{block}",
                kernel,
                strides=2 if stage and not block else 1,
                rate=next(rates),
            )
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    kernel |= {"kernel_initializer": GLOROT}
    outputs = layers.Dense(num_classes, name="logits", **kernel)(x)
    return keras.Model(inputs, outputs, name=name)


def _residual_block(
    x: Tensor,
    filters: int,
    name: str,
    kernel: dict[str, Any],
    *,
    strides: int,
    rate: float,
) -> Tensor:
    """Apply two convolutions, dropped at a rate, with a skip over both."""
    y = conv_block(x, filters, f"{name}_first", kernel, strides=strides)
    y = convolve(y, filters, f"{name}_second", kernel)
    if rate:
        y = layers.Dropout(rate, (None, 1, 1, 1), name=f"{name}_drop")(y)
    if strides > 1 or x.shape[-1] != filters:
        x = convolve(x, filters, f"{name}_skip", kernel, 1, strides)
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(x)
