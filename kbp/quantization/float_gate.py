"""The way into a layer that stays in float."""

import keras


@keras.saving.register_keras_serializable(package="kbp")
class FloatGate(keras.layers.Layer):
    """Pass a tensor on to a layer that is left in float on purpose.

    Export finds it in the model and lets that layer's operations be float. It
    multiplies by a number that is almost one: LiteRT's converter would run
    what stands first behind a rounded tensor in integers, a mean for instance,
    and round where the model does not.

    Args:
        layer: name of the layer that stays in float.

    Call arguments:
        inputs: float tensor.

    Returns:
        Tensor of the same shape.
    """

    ALMOST_ONE = 1 + 2**-23  # the next number in float32

    def __init__(self, layer: str, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs):
        return inputs * self.ALMOST_ONE

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "layer": self.layer}
