"""Models that compute nothing twice.

LiteRT's converter computes once what a model computes twice of the same
tensors, whatever is rounded behind it: of two ranges, one would not be the
file's. So there is one use, and one range, before quantizers are placed.
"""

from typing import Any

import keras
import numpy as np
from keras import tree

from kbp import graph
from kbp.quantization.policy import QuantizationPolicy

# Names of layers as well as of operations.
_OF_TWO = ("Add", "Maximum", "Minimum", "Multiply", "Subtract")
_MEANS = ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "Mean")


def without_repetitions(
    model: keras.Model, policy: QuantizationPolicy
) -> keras.Model:
    """Return a model of the same function in which equal uses are one.

    What is random, what adds to the loss and a second output of the model
    stay. So does what is equal at inference alone, as behind two Dropouts.

    Args:
        model: a flat model; the result shares its layers.
        policy: what the user has decided of layers, in which equals agree.
    """
    nodes = graph.nodes(model)
    groups: dict[Any, list[graph.Node]] = {}
    group_of = {}
    same: dict[int, int] = {}  # from a tensor's id to the first like it
    for node in nodes:
        decided = policy.skips(node.operation), policy.config(node.operation)
        key = *map(id, decided), _key(node, same)
        group = group_of[node] = groups.setdefault(key, [])
        group.append(node)
        for x, first in zip(node.outputs, group[0].outputs, strict=True):
            same[id(x)] = id(first)
    if len(groups) == len(nodes):
        return model
    order, made = iter(nodes), dict[int, Any]()

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        node = next(order)
        group = group_of[node]
        results = [other for other in group if other.is_output]
        if node in results[1:]:
            return layer(*args, **kwargs)  # an output's name is its layer's
        if id(group) not in made:
            named = results[0].operation if results else node.operation
            use = layer if named is node.operation else named
            made[id(group)] = use(*args, **kwargs)
        return made[id(group)]

    return graph.rewrite(model, call=call)


def _key(node: graph.Node, same: dict[int, int]) -> Any:
    """Return what two uses have in common if they give the same."""
    operation = node.operation
    regularizer = getattr(operation, "activity_regularizer", None)
    if regularizer is not None or graph.adds_loss(operation):
        return node
    for variable in getattr(operation, "variables", ()):
        if not keras.backend.is_float_dtype(variable.dtype):
            return node  # the state of random numbers

    def value(x: Any) -> Any:
        if isinstance(x, keras.KerasTensor):
            return "tensor", same.get(id(x), id(x))
        if isinstance(x, keras.Variable):
            return "variable", id(x)
        if hasattr(x, "__array__"):
            values = np.asarray(x)
            return values.shape, values.dtype, values.tobytes()
        return x

    given = tree.map_structure(value, (node.arguments, node.keywords))
    settings = _settings(operation)
    if settings is None:
        return id(operation), repr(given)
    kind = type(operation).__name__
    if kind in _OF_TWO and len(node.inputs) < 3:
        operands = tree.flatten((node.arguments, node.keywords))
        given = [repr(value(x)) for x in operands]
        if kind != "Subtract":
            given.sort()
        return kind, repr(given)
    if kind in _MEANS and settings.get("data_format") != "channels_first":
        places = [*range(1, len(node.inputs[0].shape) - 1)]
        axis = settings.get("axis", places)
        return "Mean", repr((np.ravel(axis), settings["keepdims"], given))
    return type(operation), repr((settings, given))


def _settings(operation: keras.Operation) -> dict[str, Any] | None:
    """Return all that decides what an operation computes, if that is known."""
    ours = type(operation).__module__.startswith(("keras.", "kbp."))
    if not ours or list(getattr(operation, "variables", [])):
        return None
    names = [getattr(x, "__name__", "") for x in vars(operation).values()]
    if "<lambda>" in names:
        return None  # it has no settings that Keras can write
    try:
        config = operation.get_config()
    except NotImplementedError:
        return None
    return {**config, "name": "", "trainable": True}
