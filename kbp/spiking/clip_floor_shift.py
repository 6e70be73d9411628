"""An activation whose values are those that spikes can count."""

import math
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_integer, check_number
from kbp._utils.types import Shape, Tensor

LEAST = 1e-3  # threshold that training may reach


@keras.saving.register_keras_serializable(package="kbp")
class ClipFloorShift(keras.layers.Layer):
    """Round to as many levels as a neuron may fire, up to a trained threshold.

        y = threshold floor(levels clip(x / threshold, 0, 1) + 1/2) / levels

    A neuron that begins at half of the threshold and gets `x` for `levels`
    time steps fires as often. Backward, rounding passes the gradient on.

    Args:
        levels: above 0.
        threshold: to begin with, 1e-3 or more.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor of floats.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Bu et al., Optimal ANN-SNN Conversion for High-Accuracy and
        Ultra-Low-Latency Spiking Neural Networks, ICLR 2022.

    Example:
    >>> import kbp, keras
    >>> layer = kbp.spiking.ClipFloorShift(4, 2.0)
    >>> layer(keras.ops.array([-1.0, 0.2, 0.9, 5.0])).numpy().tolist()
    [0.0, 0.0, 1.0, 2.0]
    """

    def __init__(self, levels: int = 8, threshold: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer(levels=levels)
        check_number(threshold=threshold)
        if not LEAST <= threshold < math.inf:
            raise ValueError(
                f"Argument `threshold` must be {LEAST} or more. Received: "
                f"threshold={threshold!r}"
            )
        self.levels, self.threshold = int(levels), float(threshold)

    def build(self, input_shape: Shape) -> None:
        self.level = self.add_weight(
            name="threshold",
            shape=(),
            initializer=keras.initializers.Constant(self.threshold),
        )

    def call(self, inputs: Tensor) -> Tensor:
        threshold = ops.maximum(ops.cast(self.level, inputs.dtype), LEAST)
        x = self.levels * ops.clip(inputs / threshold, 0, 1)
        x = x + ops.stop_gradient(ops.floor(x + 0.5) - x)
        return threshold * x / self.levels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"levels": self.levels, "threshold": self.threshold}
        return {**super().get_config(), **own}
