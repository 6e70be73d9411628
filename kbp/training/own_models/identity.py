"""What tells a person's model and data from others'."""

import hashlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from kbp.data.feeds import ArrayFeed, StreamFeed, element
from kbp.data.formats.arrays import FeedSplits
from kbp.training.own_models.description import describe_graph, description


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
    """Return what tells a graph and its training from others."""
    text = f"{describe_graph(model)} {description(compiled)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest_of_arrays(arrays: Iterable[Any]) -> str:
    """Return what tells arrays from others."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
