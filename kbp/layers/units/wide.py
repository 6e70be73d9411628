"""What layers of numbers in units of their own have in common."""

from typing import Any

import keras

from kbp._utils.types import Shape, Tensor


class WideLayer(keras.layers.Layer):
    """Base of layers that take or give numbers of any unit.

    Half precision holds no number above 65,504, or three digits of each: such
    a layer takes its inputs as they are, and computes in its `wide` type.
    """

    def __init__(self, **kwargs: Any):
        # Models of before say autocast=True of some of these layers.
        super().__init__(**{**kwargs, "autocast": False})

    @property
    def wide(self) -> str:
        """Float32, whatever the layer's precision is, or float64."""
        found: str = keras.backend.result_type("float32", self.variable_dtype)
        return found

    def add_wide_weights(self, shape: Shape, **initializers: Any) -> None:
        """Add weights that are set and not trained, by their names."""
        for name, initializer in initializers.items():
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                dtype=self.wide,
                autocast=False,
                trainable=False,
            )
            setattr(self, name, weight)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Tensor:
        # Keras takes the precision for the type of the result.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        # Keras's own refuses a dtype that is a policy.
        return dict(super().get_config())
