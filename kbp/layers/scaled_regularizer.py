"""A regularizer of what a tensor is times factors."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="kbp")
class ScaledRegularizer(keras.regularizers.Regularizer):
    """Regularize what a tensor is times factors.

    Where a rewriting multiplies a layer's weights, and something else by the
    inverse, this is the loss that the weights had before.

    Args:
        regularizer: of the product.
        factors: number, or nested list that broadcasts with the tensor.

    Call arguments:
        x: tensor.

    Returns:
        The loss, tensor `()`.

    Example:
    >>> import keras, kbp
    >>> of_halves = kbp.graph.ScaledRegularizer(keras.regularizers.L1(1.0), 0.5)
    >>> float(of_halves(keras.ops.ones((4,))))
    2.0
    """

    def __init__(self, regularizer: Any, factors: Any) -> None:
        self.regularizer = regularizer
        self.factors = np.asarray(factors, "float32")

    def __call__(self, x: Any) -> Any:
        return self.regularizer(x * ops.cast(self.factors, x.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            "regularizer": keras.saving.serialize_keras_object(
                self.regularizer
            ),
            "factors": self.factors.tolist(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        made = keras.saving.deserialize_keras_object(config["regularizer"])
        return cls(made, config["factors"])
