"""Start the ranges of fake quantization from data."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp._utils.examples import first, shapes_of
from kbp.quantization.fake_quantize import FakeQuantize

LARGEST = 1e30  # a square of it, or some sum, is infinite in float32


def take(model: keras.Model, data: Any, count: int) -> list[Any]:
    """Return inputs of a model from data, in batches.

    Args:
        model: what they are for.
        data: examples, see `quantize_aware`.
        count: how many examples to take; of arrays spread evenly, else the
            first ones.

    Raises:
        ValueError: the data are empty, not finite, or do not fit the model.
    """
    check_integer(examples=count)
    taken = [*first(data, shapes_of(model), "Calibration data", count)]
    if not taken:
        raise ValueError("The calibration data hold no batch.")
    for x in (x for batch in taken for x in batch.inputs):
        with np.errstate(over="ignore"):
            single = np.abs(x.astype("float32"))
        if not (single <= LARGEST).all():  # float16 has no such number
            raise ValueError(
                "Calibration data hold NaN or infinite values, or values "
                f"beyond {LARGEST:.0e}."
            )
    indices, before = graph.indices_of(graph.flatten(model)), 0
    for batch in taken:
        graph.check_indices(indices, batch.inputs, "Calibration data", before)
        before += len(batch)
    return [batch.for_model(model) for batch in taken]


def calibrate(model: keras.Model, data: Any, *, examples: int = 256) -> None:
    """Set every range of a fake-quantized model from a few hundred examples.

    They pass through the model in float, at inference. The range of an
    activation becomes that of all its values, in whatever batches the examples
    come; that of a kernel the range of its values.

    Args:
        model: a model from `quantize_aware`, changed in place.
        data: examples in any form that `fit` takes, see `quantize_aware`.
        examples: how many examples to take.

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
    observe(model, take(model, data, examples))


def observe(model: keras.Model, taken: list[Any]) -> None:
    """Set every range of a fake-quantized model from batches of inputs."""
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
    ['input', 'kernel', 'input']
    """
    for layer in graph.flatten(model).layers:
        inside = getattr(layer, "rounders", ())  # of a `Recurrence`
        for candidate in (layer, *graph.transforms(layer), *inside):
            if isinstance(candidate, FakeQuantize):
                yield candidate
