"""Freezing of quantization ranges and of normalization statistics."""

import keras

from kbp import graph
from kbp.quantization.calibrate import fake_quantizers


def freeze(model: keras.Model) -> None:
    """Keep ranges and normalizations as they are in further training.

    Weights go on training, on the integers' grid as it is in the exported
    file. Call `compile` again afterwards: Keras reads what is trainable there.

    Args:
        model: a model from `quantize_aware`, changed in place.

    Raises:
        ValueError: the model's graph is not known.

    Example:
    >>> import keras, kbp
    >>> from kbp.quantization import fake_quantizers, freeze, quantize_aware
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> quantized = quantize_aware(model)
    >>> freeze(quantized)
    >>> any(q.trainable for q in fake_quantizers(quantized))
    False
    """
    for quantizer in fake_quantizers(model):
        quantizer.trainable = False
    for layer in graph.flatten(model).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
