"""U-Net++, a peer of Pyramid-BPNet."""

import keras
from keras import layers

from kbp.layers.composite import GLOROT
from kbp.models.regularization import kernel_options
from kbp.models.unet import convolve_twice, enlarge

LEVELS = 4


def unet_plus_plus(
    input_shape: tuple[int, int, int], num_classes: int, *, width: int
) -> keras.Model:
    """Return a U-Net++ without deep supervision.

    It halves the image four times and doubles the channels each time.

    Args:
        input_shape: `(height, width, channels)`, sizes divisible by 16.
        num_classes: number of classes.
        width: channels of the first level.

    Reference:
        Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image
        Segmentation, 2018.
    """
    kernel = kernel_options("he_normal", 0.0)
    inputs = keras.Input(input_shape)
    # rows[i] holds the nodes of level i from the left to the right.
    rows, x = [], inputs
    for level in range(LEVELS + 1):
        node = convolve_twice(x, width * 2**level, f"node{level}_0", kernel)
        rows.append([node])
        x = layers.MaxPooling2D()(node)
    for column in range(1, LEVELS + 1):
        for level in range(LEVELS + 1 - column):
            filters, name = width * 2**level, f"node{level}_{column}"
            below = rows[level + 1][column - 1]
            up = enlarge(below, filters, name, kernel_options(GLOROT, 0.0))
            joined = layers.Concatenate()([*rows[level], up])
            node = convolve_twice(joined, filters, name, kernel)
            rows[level].append(node)
    outputs = layers.Conv2D(num_classes, 1)(rows[0][-1])
    return keras.Model(inputs, outputs)
