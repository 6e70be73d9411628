"""Nearest-neighbour upsampling: one .tflite operation, trainable under XLA."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor


@keras.saving.register_keras_serializable(package="kbp")
class NearestUpSampling2D(keras.layers.UpSampling2D):
    """Repeat each position of a feature map.

    It computes what Keras's `UpSampling2D` does. At inference it is a single
    resizing operation, also in a .tflite file; in training it concatenates
    and reshapes, because XLA (so a TPU) has no gradient for that operation
    (TensorFlow 2.21).

    Args:
        size: how often rows and columns are repeated, an integer or a pair of
            them.

    Call arguments:
        inputs: tensor `(batch, height, width, channels)`; with an open height
            or width, Keras's own operations compute it.
        training: bool, whether a gradient will be taken.

    Returns:
        Tensor `(batch, height * size[0], width * size[1], channels)`.

    Example:
    >>> import keras, kbp
    >>> x = keras.ops.reshape(keras.ops.arange(2.0), (1, 1, 2, 1))
    >>> kbp.layers.NearestUpSampling2D((1, 2))(x).numpy().ravel()
    array([0., 0., 1., 1.], dtype=float32)
    """

    def __init__(self, size: int | tuple[int, int] = 2, **kwargs: Any):
        super().__init__(size, data_format="channels_last", **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        rows, columns = self.size
        _, height, width, channels = inputs.shape
        if height is None or width is None:  # a file will know them
            return super().call(inputs)
        shape = (rows * height, columns * width)
        if not training:
            return ops.image.resize(inputs, shape, interpolation="nearest")
        # Faster than two repetitions, also in the gradient.
        x = ops.concatenate([inputs] * columns, axis=-1)
        x = ops.tile(x, (1, 1, rows, 1))  # (.., height, rows * width, ..)
        return ops.reshape(x, (-1, *shape, channels))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["data_format"], config["interpolation"]
        return config
