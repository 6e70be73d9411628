"""The type of numbers in units of their own."""

import keras


def wide(layer: keras.layers.Layer) -> str:
    """Return float32, whatever the layer's precision is, or float64."""
    found: str = keras.backend.result_type("float32", layer.variable_dtype)
    return found
