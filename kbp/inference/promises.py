"""What a `.keras` file asks Keras to build, against what the file holds.

A configuration of a few bytes can ask for more memory or time than there is.
"""

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from kbp._compat import symbolic_outputs
from kbp._utils.weights import bounded_weights
from kbp.errors import UserError

MOST_BYTES_OF_CONFIG = 20_000_000
_MOST_DEPTH = 200  # of dictionaries and lists; a layer in a layer takes 5
_MOST_LAYERS = 2_000  # the largest of `keras.applications` has 1,041
# A model calls all layers of the models in it again.
_MOST_CALLS = 10_000
_FRAMES_OF_A_LAYER, _FRAMES_BESIDE = 2, 1_000
_FEW_WEIGHTS = 10_000_000  # that a file need not hold: 40 MB
MOST_VALUES = 2**28  # of one tensor, for one example: 1 GiB
_MOST_ARRAYS = 100_000


def check_config(path: Path, config: object) -> None:
    """Raise a UserError if a configuration has too many layers or levels.

    Args:
        path: of the file, for messages.
        config: of a model, as JSON has it.
    """
    layers = 0
    level: list[Any] = [config]
    depth = 0
    while level:
        depth += 1
        if depth > _MOST_DEPTH:
            raise UserError(
                f"{path}: its configuration has more than {_MOST_DEPTH} levels."
            )
        for part in level:
            found = part.get("layers") if isinstance(part, dict) else None
            if isinstance(found, list):
                layers += len(found)
        level = [inner for part in level for inner in _inside(part)]
    if layers > _MOST_LAYERS:
        raise UserError(
            f"{path}: has {layers:,} layers; at most {_MOST_LAYERS:,} are "
            "loaded."
        )
    _, calls = _layers_and_calls(config)
    if calls > _MOST_CALLS:
        raise UserError(
            f"{path}: its models in models call {calls:,} layers when they are "
            f"made; at most {_MOST_CALLS:,} are. Nest fewer models."
        )


def _layers_and_calls(part: object) -> tuple[int, int]:
    """Return how many layers there are, and how often making it calls one."""
    layers = calls = 0
    for inner in _inside(part):
        more, of_them = _layers_and_calls(inner)
        layers, calls = layers + more, calls + of_them
    found = part.get("layers") if isinstance(part, dict) else None
    if isinstance(found, list):
        layers += len(found)
        calls += layers
    return layers, calls


@contextlib.contextmanager
def built_once() -> Iterator[None]:
    """Let Keras build Sequential models when they have all of their layers.

    It would build them anew for each layer: a thousand take minutes.
    """
    before = vars(keras.Sequential)["from_config"]
    try:
        keras.Sequential.from_config = classmethod(_from_config)
        yield
    finally:
        keras.Sequential.from_config = before


def _from_config(
    kind: type[keras.Sequential],
    config: dict[str, Any],
    custom_objects: Any = None,
) -> keras.Sequential:
    """Do what `Sequential.from_config` does, and build once."""
    layers = [
        keras.saving.deserialize_keras_object(one, custom_objects)
        for one in config["layers"]
    ]
    # Keras follows layers that stand one behind the other by recursion, here
    # and whenever the model is taken apart.
    deep = _FRAMES_OF_A_LAYER * len(layers) + _FRAMES_BESIDE
    sys.setrecursionlimit(max(sys.getrecursionlimit(), deep))
    model = kind(name=config["name"])
    for place, layer in enumerate(layers, 1):
        model.add(layer, rebuild=place == len(layers))
    shape = config.get("build_input_shape")
    if not model.built and isinstance(shape, tuple | list):
        model.build(shape)
    return model


def _inside(part: object) -> list[Any]:
    values = [*part.values()] if isinstance(part, dict) else part
    if not isinstance(values, list):
        return []
    return [inner for inner in values if isinstance(inner, dict | list)]


def bounded(path: Path, held: int) -> contextlib.AbstractContextManager[None]:
    """Let layers that are made ask for as many weights as a file holds.

    A few millions more are let pass, for layers that keep some to themselves.

    Args:
        path: of the file, for messages.
        held: weights in the file.
    """

    def words(name: str, shape: tuple[int, ...]) -> str:
        return (
            f"{path}: layer {name!r} asks for weights of shape {shape}; the "
            f"file holds {held:,} weights in all."
        )

    return bounded_weights(_FEW_WEIGHTS + 2 * held, _MOST_ARRAYS, words)


def check_activations(path: Path, model: keras.Model) -> None:
    """Raise a UserError if a model makes too large a tensor of one example.

    Args:
        path: of the file, for messages.
        model: as loaded.
    """
    name, tensor = _largest(model)
    if tensor is not None and _values(tensor) > MOST_VALUES:
        raise UserError(
            f"{path}: layer {name!r} makes values of shape "
            f"{tuple(tensor.shape)}; at most {MOST_VALUES:,} are made of an "
            "example."
        )


def most_values(model: keras.Model) -> int:
    """Return the size of the largest tensor that a model makes of an example.

    Args:
        model: any.
    """
    return _values(_largest(model)[1])


def _largest(model: keras.Model) -> tuple[str, keras.KerasTensor | None]:
    found = [
        _largest(layer)
        if isinstance(layer, keras.Model)
        else (layer.name, output)
        for layer in getattr(model, "operations", model.layers)
        for output in symbolic_outputs(layer)
    ]
    return max(found, key=lambda one: _values(one[1]), default=("", None))


def _values(tensor: keras.KerasTensor | None) -> int:
    """Return how many values there are; sizes not known count as 1."""
    if tensor is None:
        return 1
    return math.prod(size or 1 for size in tensor.shape)
