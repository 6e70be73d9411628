"""What tells a person's model and data from others'."""

import hashlib
import re
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
            "digest": _digest_of_model(model, compiled),
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


def _digest_of_model(model: keras.Model, compiled: dict[str, Any]) -> str:
    """Return what tells a model from others, whatever its layers' names."""
    found = hashlib.sha256()
    uses = graph.nodes(graph.flatten(model))
    for use in uses:
        before = [uses.index(producer) for producer in use.producers]
        found.update(f"{_described(use.operation)} {before}".encode())
    found.update(_described(compiled).encode())
    for weight in model.weights:
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.hexdigest()[:16]


def _described(value: Any) -> str:
    """Describe a layer, loss or metric by what it is, without names."""
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if k != "name")
        return str({str(k): _described(v) for k, v in pairs})
    if isinstance(value, list | tuple):
        return str([_described(item) for item in value])
    if hasattr(value, "get_config"):
        config = value.get_config()
        if isinstance(value, keras.Loss):  # Huber's leaves its delta out
            config = config | getattr(value, "_fn_kwargs", {})
        return f"{type(value).__name__} {_described(config)}"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
