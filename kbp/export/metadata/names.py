"""Names of a model's inputs and outputs, as files give them."""

import collections

import keras

from kbp._utils.examples import shapes_of


def input_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's inputs, in their order."""
    return [*shapes_of(model)]


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's outputs, in their order.

    They are the keys of a dictionary that the model gives, else the names of
    the layers that give them; a layer that gives several numbers them.
    """
    given = model.outputs if _is_sequential(model) else model.output
    if isinstance(given, dict) and len(given) == len(model.outputs):
        return sorted(map(str, given))  # the order in which Keras flattens them
    layers = [x._keras_history.operation.name for x in model.outputs]
    counts, seen = collections.Counter(layers), collections.Counter[str]()
    names = []
    for name in layers:
        names.append(f"{name}_{seen[name]}" if counts[name] > 1 else name)
        seen[name] += 1
    return names


def _is_sequential(model: keras.Model) -> bool:
    return isinstance(model, keras.Sequential)
