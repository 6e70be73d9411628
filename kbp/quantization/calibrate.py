"""Start the ranges of fake quantization from data."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp.quantization.fake_quantize import FakeQuantize


def take(model: keras.Model, data: Iterable[Any], batches: int) -> list[Any]:
    """Return the inputs of the first batches of data.

    Args:
        model: what they are for.
        data: batches of inputs, or of tuples that begin with the inputs.
        batches: how many batches to take.

    Raises:
        ValueError: the data are empty, not finite, or do not fit the model.
    """
    check_integer(batches=batches)
    taken: list[Any] = []
    for batch in itertools.islice(data, batches):
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        taken.append(keras.tree.map_structure(np.asarray, inputs))
        _check(model, taken[-1])
    if not taken:
        raise ValueError("The calibration data hold no batch.")
    return taken


def calibrate(
    model: keras.Model, data: Iterable[Any], *, batches: int = 8
) -> None:
    """Set every range of a fake-quantized model from a few batches.

    The batches pass through the model in float, at inference. The range of
    an activation becomes the mean of its batches' ranges, that of an input
    their union, that of a kernel the range of its values.

    Args:
        model: a model from `quantize_aware`, changed in place.
        data: batches of inputs, or of tuples that begin with the inputs.
        batches: how many batches to take.

    Raises:
        ValueError: the data are empty, not finite, or do not fit the model.

    Example:
    >>> import keras, numpy as np
    >>> from kbp.quantization import calibrate, fake_quantizers, quantize_aware
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    >>> quantized = quantize_aware(model)
    >>> calibrate(quantized, [np.array([[0.0], [2.55]], "float32")])
    >>> of_input = next(fake_quantizers(quantized))
    >>> round(float(of_input.scale()), 4)
    0.01
    """
    taken = take(model, data, batches)
    quantizers = list(fake_quantizers(model))
    try:
        for quantizer in quantizers:
            quantizer.observing = True
        for inputs in taken:
            model(inputs, training=False)
    finally:
        for quantizer in quantizers:
            quantizer.observing = False
    for quantizer in quantizers:
        quantizer.set_observed_range()


def fake_quantizers(model: keras.Model) -> Iterator[FakeQuantize]:
    """Yield every `FakeQuantize` of a model.

    Args:
        model: a functional or built Sequential model.

    Raises:
        ValueError: the model's graph is not known.

    Example:
    >>> import keras
    >>> from kbp.quantization import fake_quantizers, quantize_aware
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> [q.kind for q in fake_quantizers(quantize_aware(model))]
    ['input', 'kernel', 'tensor']
    """
    for layer in graph.flatten(model).layers:
        for candidate in (layer, *graph.transforms(layer)):
            if isinstance(candidate, FakeQuantize):
                yield candidate


def _check(model: keras.Model, inputs: Any) -> None:
    expected = [tuple(x.shape[1:]) for x in model.inputs]
    received = [tuple(x.shape[1:]) for x in keras.tree.flatten(inputs)]
    if len(expected) != len(received) or not all(
        len(a) == len(b)
        and all(m in (None, n) for m, n in zip(a, b, strict=True))
        for a, b in zip(expected, received, strict=True)
    ):
        raise ValueError(
            f"Calibration data must have the shape of the model's input, "
            f"{expected} after the batch axis. Received: {received}"
        )
    for x in keras.tree.flatten(inputs):
        if not x.size:
            raise ValueError("Calibration data hold an empty batch.")
        if not np.isfinite(x).all():
            raise ValueError("Calibration data hold NaN or infinite values.")
