"""Names of a model's inputs and outputs, as files give them."""

import collections

import keras

from kbp._utils.examples import shapes_of
from kbp.quantization import FakeQuantize


def input_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's inputs, in their order."""
    return [*shapes_of(model)]


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's outputs, in their order.

    They are the keys of a dictionary that the model gives, else the names of
    the layers that give them, before they are rounded; a layer that gives
    several numbers them.
    """
    given = model.outputs if _is_sequential(model) else model.output
    if isinstance(given, dict) and len(given) == len(model.outputs):
        return sorted(map(str, given))  # the order in which Keras flattens them
    layers = [_layer_of(x) for x in model.outputs]
    counts, seen = collections.Counter(layers), collections.Counter[str]()
    names = []
    for name in layers:
        names.append(f"{name}_{seen[name]}" if counts[name] > 1 else name)
        seen[name] += 1
    return names


def _layer_of(x: keras.KerasTensor) -> str:
    operation = x._keras_history.operation
    rounds = isinstance(operation, FakeQuantize)
    return str(operation.name).removesuffix("_quant" if rounds else "")


def _is_sequential(model: keras.Model) -> bool:
    return isinstance(model, keras.Sequential)
