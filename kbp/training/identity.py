"""What tells a person's model and data from others'."""

import functools
import hashlib
import re
import types
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp.data.feeds import ArrayFeed, StreamFeed, element
from kbp.data.formats.arrays import FeedSplits


def identity(
    model: keras.Model, splits: FeedSplits, compiled: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the sections of a recipe that tell model and data from others.

    Args:
        model: a functional or Sequential model.
        splits: its examples.
        compiled: what it is compiled with.
    """
    return {
        "model": {
            "architecture": "own_model",
            "name": model.name,
            "graph_digest": _digest_of_graph(model, compiled),
            "weights_digest": _digest_of_arrays(model.weights),
        },
        "data": {"name": "arrays", "digest": _digest(splits)},
    }


def _digest(splits: FeedSplits) -> str:
    """Return what tells examples from others."""
    found = hashlib.sha256()
    for examples in (splits.train, splits.validation, splits.test):
        found.update(str(len(examples)).encode())
        if isinstance(examples, StreamFeed):
            found.update(examples.digest.digest())
        if isinstance(examples, ArrayFeed):
            held = element(examples.arrays, examples.names)
            for array in map(np.asarray, keras.tree.flatten(held)):
                found.update(f"{array.dtype}{array.shape}".encode())
                found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _digest_of_graph(model: keras.Model, compiled: dict[str, Any]) -> str:
    """Return what tells a graph from others, whatever its layers' names."""
    found = hashlib.sha256()
    uses = graph.nodes(graph.flatten(model))
    for use in uses:
        before = [uses.index(producer) for producer in use.producers]
        found.update(f"{_described(use.operation)} {before}".encode())
    found.update(_described(compiled).encode())
    return found.hexdigest()[:16]


def _digest_of_arrays(arrays: Iterable[Any]) -> str:
    """Return what tells arrays from others."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _described(value: Any, within: tuple[int, ...] = ()) -> str:
    """Describe a layer, loss or metric by what it is, without names.

    Args:
        value: what to describe.
        within: identities of the functions whose parts it is, as a function
            may hold itself.
    """
    described = functools.partial(_described, within=(*within, id(value)))
    if id(value) in within:
        return "itself"
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if k != "name")
        return str({str(k): described(v) for k, v in pairs})
    if isinstance(value, list | tuple):
        return str([described(item) for item in value])
    if isinstance(value, set | frozenset):  # whose order is no process's own
        return str(sorted(map(described, value)))
    if hasattr(value, "get_config") and not isinstance(value, type):
        config = value.get_config()
        if isinstance(value, keras.Loss | keras.Metric):
            # Huber's leaves its delta out, and a wrapper its function.
            config = config | getattr(value, "_fn_kwargs", {})
            config = config | {"called": described(getattr(value, "_fn", None))}
        return f"{type(value).__name__} {described(config)}"
    if isinstance(value, functools.partial):
        return described([value.func, value.args, value.keywords])
    if isinstance(value, types.MethodType):
        return described([value.__func__, value.__self__])
    if isinstance(value, types.FunctionType):
        return _function(value, described)
    if isinstance(value, types.CodeType):
        return _code(value, described)
    if hasattr(value, "dtype") and hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return f"{array.dtype}{array.shape} {digest}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__name__)
        held = getattr(value, "__dict__", {})
        own = not isinstance(value, type) and held
        return f"{name} {described(held)}" if own else str(name)
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def _function(function: Any, described: Callable[[Any], str]) -> str:
    """Describe a function by its code and all that it was made with."""
    package = str(function.__module__).partition(".")[0]
    if package in ("keras", "tensorflow"):
        return str(function.__qualname__)
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not given yet
            cells.append("empty")
    code = function.__code__
    used = {
        name: function.__globals__[name]
        for name in _names(code)
        if _tells(function.__globals__.get(name))
    }
    parts = [code, function.__defaults__, function.__kwdefaults__, cells, used]
    return described(parts)


def _names(code: types.CodeType) -> list[str]:
    """Return the names that a function and those within it look up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant))
    return sorted(found)


def _tells(value: Any) -> bool:
    """Say whether a global is a setting or a function of a person's own."""
    return isinstance(
        value,
        bool | int | float | str | tuple | types.FunctionType | np.ndarray,
    )


def _code(code: types.CodeType, described: Callable[[Any], str]) -> str:
    """Describe code by what it does, wherever it stands."""
    return described(
        [code.co_code, code.co_consts, code.co_names, code.co_varnames]
    )
