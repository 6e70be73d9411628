"""A learnable position embedding."""

from typing import Any

import keras

from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class PositionEmbedding(keras.layers.Layer):
    """Add a learnable vector to each step of a sequence.

        y_t = x_t + e_t

    Args:
        initializer: initializer of the table `e`.

    Call arguments:
        inputs: tensor `(batch, time, features)`, `time` fixed.

    Returns:
        Tensor `(batch, time, features)`.

    Example:
    >>> import keras, kbp
    >>> kbp.layers.PositionEmbedding()(keras.ops.ones((2, 5, 4))).shape
    TensorShape([2, 5, 4])
    """

    def __init__(
        self,
        *,
        initializer: str | keras.initializers.Initializer = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="embedding",
            shape=tuple(input_shape[1:]),
            initializer=self.initializer,
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.kernel

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
        }
