"""The peers of Pyramid-BPNet, each with BatchNormalization and logits.

All halve the image four times and double the channels each time, as their
papers have it; maps are enlarged by 2x2 transposed convolutions.
"""

import keras
from keras import layers

LEVELS = 4


def unet(
    input_shape: tuple[int, int, int], num_classes: int, width: int
) -> keras.Model:
    """Return a U-Net.

    Args:
        input_shape: `(height, width, channels)`, sizes divisible by 16.
        num_classes: number of classes.
        width: channels of the first level.

    Reference:
        Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image
        Segmentation, 2015.
    """
    return _unet(input_shape, num_classes, width, lambda skip, gate: skip)


def attention_unet(
    input_shape: tuple[int, int, int], num_classes: int, width: int
) -> keras.Model:
    """Return a U-Net whose skips pass through attention gates.

    Arguments are those of `unet`.

    Reference:
        Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas,
        2018, with gates as in its published code: additive, one number for
        each pixel, from the enlarged map.
    """

    def attend(skip, gate):
        filters = max(1, skip.shape[-1] // 2)
        x = layers.Add()([_convolve(skip, filters), _convolve(gate, filters)])
        x = _convolve(layers.ReLU()(x), 1)
        x = layers.Activation("sigmoid")(x)  # (batch, height, width, 1)
        return layers.Multiply()([skip, x])

    return _unet(input_shape, num_classes, width, attend)


def unet_plus_plus(
    input_shape: tuple[int, int, int], num_classes: int, width: int
) -> keras.Model:
    """Return a U-Net++ without deep supervision.

    Arguments are those of `unet`.

    Reference:
        Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image
        Segmentation, 2018.
    """
    inputs = keras.Input(input_shape)
    # rows[i] holds the nodes of level i from the left to the right.
    rows, x = [], inputs
    for level in range(LEVELS + 1):
        rows.append([_convolve_twice(x, width * 2**level)])
        x = layers.MaxPooling2D()(rows[-1][0])
    for column in range(1, LEVELS + 1):
        for level in range(LEVELS + 1 - column):
            filters = width * 2**level
            up = _enlarge(rows[level + 1][column - 1], filters)
            joined = layers.Concatenate()([*rows[level], up])
            rows[level].append(_convolve_twice(joined, filters))
    outputs = layers.Conv2D(num_classes, 1)(rows[0][-1])
    return keras.Model(inputs, outputs)


def _unet(input_shape, num_classes, width, gate):
    inputs = keras.Input(input_shape)
    skips, x = [], inputs
    for level in range(LEVELS):
        skips.append(_convolve_twice(x, width * 2**level))
        x = layers.MaxPooling2D()(skips[-1])
    x = _convolve_twice(x, width * 2**LEVELS)
    for level in reversed(range(LEVELS)):
        filters = width * 2**level
        x = _enlarge(x, filters)
        x = layers.Concatenate()([gate(skips[level], x), x])
        x = _convolve_twice(x, filters)
    return keras.Model(inputs, layers.Conv2D(num_classes, 1)(x))


def _convolve_twice(x, filters):
    for _ in range(2):
        x = layers.ReLU()(_convolve(x, filters, 3))
    return x


def _convolve(x, filters, kernel_size=1):
    x = layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def _enlarge(x, filters):
    return layers.Conv2DTranspose(filters, 2, 2)(x)
