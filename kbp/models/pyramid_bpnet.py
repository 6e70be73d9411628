"""Pyramid-BPNet: feature maps of several scales, fused before the output."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from kbp._utils.arguments import (
    check_image,
    check_integer,
    check_one_of,
    check_rate,
)
from kbp._utils.types import Tensor
from kbp.layers import FeatureFusion, NearestUpSampling2D, ResidualConv2D
from kbp.models.blocks import conv_block
from kbp.models.registry import register_model
from kbp.models.regularization import depth_rates, kernel_options

# The settings of each `size`; "plain" is the definition and no more, "tiny"
# is for microcontrollers.
SIZES = {
    "plain": {"num_scales": 2, "width": 32, "num_blocks": 0, "patch_size": 1},
    "tiny": {"num_scales": 3, "width": 16, "num_blocks": 1, "patch_size": 2},
    "small": {"num_scales": 3, "width": 32, "num_blocks": 1, "patch_size": 2},
}


@register_model("pyramid_bpnet")
def PyramidBPNet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    head: str = "classification",
    size: str = "plain",
    num_scales: int | None = None,
    width: int | None = None,
    num_blocks: int | None = None,
    patch_size: int | None = None,
    pooling: str = "max",
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    name: str = "pyramid_bpnet",
) -> keras.Model:
    """Build a Pyramid-BPNet, which classifies images or segments them.

    Two scales look at the input `x`, and a fusion layer joins them before the
    output:

        coarse = Dense1(Pool1(Conv1(x)))
        fine   = Conv2(x)
        y      = head(FeatureFusion([fine, coarse]))

    Each further scale repeats it: `coarse`, after `num_blocks` residual blocks,
    is the next pair's `x`, and the last scale's map. To label images, all maps
    are joined at once; to label pixels, two by two from the coarsest on, with a
    3x3 convolution after each, which smooths what repetition has left, and
    another that labels: the logits of all scales are added up. Scale `k` has
    `width * 2^k` channels at `1 / (patch_size * 2^k)` of the input's size.

    With `patch_size`, a square of so many pixels a side is one position with
    the channels of all its pixels, which are labelled at once. LiteRT's 8-bit
    kernels take as long for 12 channels as for 48, so this makes the model
    several times as fast.

    Every operation is one that an 8-bit file can hold: BatchNormalization
    follows convolutions only, activations are ReLU, maps are enlarged by
    repetition.

    Args:
        input_shape: `(height, width, channels)`; height and width divisible
            by `patch_size * 2^(num_scales - 1)`.
        num_classes: number of classes, two or more.
        head: `"classification"` of images or `"segmentation"`, of each pixel.
        size: one of `SIZES`, which gives the next four arguments their
            defaults.
        num_scales: number of scales, from 2 to 16.
        width: number of channels of the finest scale.
        num_blocks: number of residual blocks at each scale but the finest.
        patch_size: height and width of a patch, in pixels.
        pooling: `"max"` or `"average"`, which spiking networks can have.
        dropout: rate in [0, 1) before the layers of logits.
        stochastic_depth: rate in [0, 1) at which the last residual block is
            dropped in training, those before it less, see `depth_rates`.
        l2: factor of the squares of all kernels in the loss.
        initializer: of all kernels, such as `"he_normal"`, as Keras names them.
        name: the model's name.

    Returns:
        A functional model `(batch, height, width, channels)` to logits
        `(batch, num_classes)`, or `(batch, height, width, num_classes)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((32, 32, 3), 10, num_scales=3)
    >>> model.output_shape
    (None, 10)

    Reference:
        Maps of several scales that are fused: Lin et al., Feature Pyramid
        Networks, 2017; labels at full size: Ronneberger et al., U-Net, 2015.
    """
    check_one_of(tuple(HEADS), head=head)
    check_one_of(tuple(SIZES), size=size)
    check_one_of(tuple(POOLINGS), pooling=pooling)
    given = {
        "num_scales": num_scales,
        "width": width,
        "num_blocks": num_blocks,
        "patch_size": patch_size,
    }
    num_scales, width, num_blocks, patch_size = (
        SIZES[size][key] if value is None else value
        for key, value in given.items()
    )
    check_integer(2, num_scales=num_scales, num_classes=num_classes)
    check_one_of(range(2, 17), num_scales=num_scales)
    check_integer(width=width, patch_size=patch_size)
    check_integer(0, num_blocks=num_blocks)
    check_rate(dropout=dropout)
    check_image(input_shape, patch_size * 2 ** (num_scales - 1))
    kernel = kernel_options(initializer, l2)
    rates = iter(depth_rates(stochastic_depth, (num_scales - 1) * num_blocks))
    inputs = x = keras.Input(input_shape, name="image")
    if patch_size > 1:
        x = ops.nn.space_to_depth(x, patch_size)
    maps = []
    for scale in range(num_scales - 1):
        channels = width * 2**scale
        maps.append(conv_block(x, channels, f"scale{scale}_fine", kernel))
        x = conv_block(x, channels, f"scale{scale}_coarse", kernel)
        x = POOLINGS[pooling](2, name=f"scale{scale}_pool")(x)
        channels *= 2
        x = layers.Dense(
            channels, activation="relu", name=f"scale{scale}_dense", **kernel
        )(x)
        for block in range(num_blocks):
            name_of_block = f"scale{scale + 1}_block{block}"
            x = residual_block(x, channels, name_of_block, kernel, next(rates))
    outputs = HEADS[head]([*maps, x], num_classes, patch_size, dropout, kernel)
    return keras.Model(inputs, outputs, name=name)


def classify(
    maps: Sequence[Tensor],
    num_classes: int,
    patch_size: int,
    dropout: float,
    kernel: dict[str, Any],
) -> Tensor:
    """Return logits of the average of all maps, joined at once."""
    channels = maps[0].shape[-1]
    x = FeatureFusion(channels, batch_norm=True, name="fusion", **kernel)(maps)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(num_classes, name="logits", **kernel)(x)


def segment(
    maps: Sequence[Tensor],
    num_classes: int,
    patch_size: int,
    dropout: float,
    kernel: dict[str, Any],
) -> Tensor:
    """Return logits of each pixel of the maps, joined from the coarsest on.

    The logits of all scales are added up, so that each scale learns from the
    labels directly.
    """

    def logits_of(x: Tensor, scale: int) -> Tensor:
        if dropout:
            name = f"scale{scale}_dropout"
            x = layers.SpatialDropout2D(dropout, name=name)(x)
        return layers.Conv2D(
            num_classes * patch_size**2,
            3,
            padding="same",
            name=f"scale{scale}_logits",
            **kernel,
        )(x)  # (batch, height_k, width_k, patch_size^2 * num_classes)

    *maps, x = maps
    logits = logits_of(x, len(maps))
    for scale, fine in reversed([*enumerate(maps)]):
        channels = fine.shape[-1]
        x = FeatureFusion(
            channels, batch_norm=True, name=f"scale{scale}_fusion", **kernel
        )([fine, x])
        x = conv_block(x, channels, f"scale{scale}_smooth", kernel)
        logits = NearestUpSampling2D(name=f"scale{scale}_enlarge")(logits)
        logits = layers.Add(name=f"scale{scale}_sum")(
            [logits_of(x, scale), logits]
        )
    if patch_size > 1:
        logits = ops.nn.depth_to_space(logits, patch_size)
    return logits


POOLINGS = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
HEADS = {"classification": classify, "segmentation": segment}


def residual_block(
    x: Tensor, filters: int, name: str, kernel: dict[str, Any], rate: float
) -> Tensor:
    """Apply two convolutions, dropped at a rate, with a skip over both."""
    hidden = conv_block(x, filters, name, kernel)
    return ResidualConv2D(
        filters,
        batch_norm=True,
        stochastic_depth=rate,
        name=f"{name}_residual",
        **kernel,
    )(hidden, x)
