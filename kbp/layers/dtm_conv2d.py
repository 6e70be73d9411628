"""A convolution with a differentiable topology mask."""

import keras

from kbp.layers.dtm_dense import DTMLayer


@keras.saving.register_keras_serializable(package="kbp")
class DTMConv2D(DTMLayer):
    """`keras.layers.Conv2D` whose kernel passes through `DTM`.

    Args:
        filters: number of output channels.
        kernel_size: int or pair, in pixels.
        temperature, threshold, score, granularity, estimator, penalty: see
            `DTM`.
        path_norm_bound: `gamma` of a `PathNormBound` on the kernel's gradient,
            or `None`.
        **kwargs: of `keras.layers.Conv2D`.

    Call arguments:
        inputs: tensor `(batch, height, width, channels)`.

    Returns:
        Tensor `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras, kbp
    >>> layer = kbp.layers.DTMConv2D(8, 3, padding="same")
    >>> layer(keras.ops.ones((1, 6, 6, 2))).shape
    TensorShape([1, 6, 6, 8])
    """

    layer_class = keras.layers.Conv2D
