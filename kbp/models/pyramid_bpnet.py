"""Pyramid-BPNet: feature maps of several scales, fused before the output."""

import keras
from keras import layers

from kbp.layers import FeatureFusion, ResidualConv2D
from kbp.layers.arguments import (
    check_dropout,
    check_integer,
    check_one_of,
)


def PyramidBPNet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    head: str = "classification",
    num_scales: int = 2,
    width: int = 32,
    num_blocks: int = 1,
    dropout: float = 0.0,
    name: str = "pyramid_bpnet",
) -> keras.Model:
    """Build a Pyramid-BPNet, which labels images or their pixels.

    Two scales look at the input, and a fusion layer joins them before the
    output:

        coarse = Dense1(Pool1(Conv1(x)))
        fine   = Conv2(x)
        y      = head(FeatureFusion([fine, coarse]))

    `num_scales=2` is exactly this. Each further scale repeats it: what
    `Dense1` gives is the next pair's `x`, and the fusion layer joins all fine
    maps with the last coarse one. To label pixels, they are joined two by two
    from the coarsest on, with a 3x3 convolution after each, which smooths what
    repetition has left. Scale `k` has `width * (k + 1)` channels at `1 / 2^k`
    of the input's size. Residual blocks stand behind the fine
    convolutions from the second scale on: at full size a 3x3 convolution
    costs four times as much and sees half as far.

    Every operation is one that an 8-bit file can hold: BatchNormalization
    stands only behind convolutions, activations are ReLU, maps are enlarged by
    repetition.

    Args:
        input_shape: `(height, width, channels)`; height and width divisible
            by `2^(num_scales - 1)`.
        num_classes: number of classes, two or more.
        head: `"classification"` of images or `"segmentation"`, of each pixel.
        num_scales: number of scales, two or more.
        width: channels of the finest scale; multiples of 16 run fastest.
        num_blocks: residual blocks at each scale but the first and the last.
        dropout: rate before the last layer, in [0, 1).
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
    """
    check_one_of(tuple(HEADS), head=head)
    check_integer(2, num_scales=num_scales, num_classes=num_classes)
    check_integer(width=width)
    check_integer(0, num_blocks=num_blocks)
    check_dropout(dropout)
    _check_shape(input_shape, 2 ** (num_scales - 1))
    inputs = keras.Input(input_shape, name="image")
    x, maps = inputs, []
    for scale in range(num_scales - 1):
        channels = width * (scale + 1)
        fine = conv_block(x, channels, f"scale{scale}_fine")
        for block in range(num_blocks if scale else 0):
            fine = residual_block(fine, channels, f"scale{scale}_block{block}")
        maps.append(fine)
        coarse = conv_block(x, channels, f"scale{scale}_coarse")
        coarse = layers.MaxPooling2D(name=f"scale{scale}_pool")(coarse)
        x = layers.Dense(
            width * (scale + 2), activation="relu", name=f"scale{scale}_dense"
        )(coarse)
    outputs = HEADS[head]([*maps, x], num_classes, width, dropout)
    return keras.Model(inputs, outputs, name=name)


def classify(maps, num_classes, width, dropout):
    """Join all maps at once and label their average."""
    x = FeatureFusion(width, batch_norm=True, name="fusion")(maps)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(num_classes, name="logits")(x)


def segment(maps, num_classes, width, dropout):
    """Join the maps two by two, the coarsest first, and label each pixel."""
    *maps, x = maps
    for scale in reversed(range(len(maps))):
        channels = width * (scale + 1)
        x = FeatureFusion(
            channels, batch_norm=True, name=f"scale{scale}_fusion"
        )([maps[scale], x])
        x = conv_block(x, channels, f"scale{scale}_smooth")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="dropout")(x)
    return layers.Conv2D(num_classes, 1, name="logits")(x)


HEADS = {"classification": classify, "segmentation": segment}


def conv_block(x, filters, name):
    """Convolution 3x3, batch normalization, ReLU."""
    x = layers.Conv2D(
        filters, 3, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def residual_block(x, filters, name):
    """Two convolutions with a skip over both."""
    hidden = conv_block(x, filters, name)
    return ResidualConv2D(filters, batch_norm=True, name=f"{name}_residual")(
        hidden, x
    )


def _check_shape(input_shape, stride):
    if len(input_shape) != 3 or any(
        not size or size % stride for size in input_shape[:2]
    ):
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), height "
            f"and width divisible by {stride}. "
            f"Received: input_shape={input_shape}"
        )
