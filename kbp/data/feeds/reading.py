"""Examples in any form that `fit` takes, as feeds."""

from collections.abc import Iterable
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from kbp._utils.examples import (
    BATCH_SIZE,
    Batch,
    Shapes,
    batches,
    joined,
    whole,
)
from kbp._utils.machine import memory
from kbp.data.checks.values import check_alike, check_values, check_weights
from kbp.data.feeds.arrays import ArrayFeed
from kbp.data.feeds.base import Feed, element
from kbp.data.feeds.stream import Check, StreamFeed


def feed(
    data: Any,
    shapes: Shapes,
    what: str,
    *,
    batch_size: int = BATCH_SIZE,
    check: Check | None = None,
) -> Feed:
    """Return a person's examples as a feed.

    Arrays are held as they are, targets of one axis as columns. A list or a
    generator, which can be read only once, is read into memory; other data sets
    are read anew in each epoch.

    Args:
        data: examples with targets, in any form that `fit` takes.
        shapes: of the model's inputs.
        what: what the data are, for messages.
        batch_size: of data that come as one example each.
        check: `check(batch, before)`, which raises an error for examples that
            do not fit, given how many came before.

    Raises:
        ValueError: the data have no targets, do not fit, have no end or do not
            fit into memory.
    """
    found = whole(data, shapes, what)
    if found is not None:
        found = Batch(
            found.inputs,
            *keras.tree.map_structure(_column, (found.targets, found.weights)),
        )
    if found is None and _is_stream(data, what):
        stream = StreamFeed(data, shapes, what, batch_size, check)
        _, *targets = stream.signature
        made: Feed = stream
    else:
        if found is None:
            found = _collected(batches(data, shapes, what), what)
        made = ArrayFeed(tuple(shapes), found)
        _, *targets = element(found, made.names)
        check_values(found, what, names=made.names)
    if not targets or not len(made):
        missing = "targets" if len(made) else "examples"
        raise ValueError(
            f"{what} hold no {missing}: give (inputs, targets), or batches of "
            "them."
        )
    for value in keras.tree.flatten(targets):
        kind = np.dtype(getattr(value.dtype, "as_numpy_dtype", value.dtype))
        if kind.kind not in "biuf":
            raise ValueError(
                f"{what} must have numbers as targets and weights. Received: "
                f"{kind}. np.unique(y, return_inverse=True)[1] numbers "
                "classes that are text."
            )
    if isinstance(made, ArrayFeed):
        check_weights(made.arrays, what)
        if check:
            check(made.arrays, 0)
    return made


def in_memory(given: Feed) -> ArrayFeed:
    """Return a feed's examples as arrays.

    Raises:
        ValueError: they do not fit into memory.
    """
    if isinstance(given, StreamFeed):
        held = _collected(given.read(), given.what)
        return ArrayFeed(tuple(given.shapes), held)
    return cast(ArrayFeed, given)


def _column(value: Any) -> Any:
    """Return numbers as a column, as `fit` gives those of arrays to losses."""
    if value is None:
        return None
    array = np.asarray(value)  # pandas indexes otherwise
    return array[:, None] if array.ndim == 1 else array


def _is_stream(data: Any, what: str) -> bool:
    if isinstance(data, tf.data.Dataset):
        endless = data.cardinality() == tf.data.INFINITE_CARDINALITY
    elif isinstance(data, keras.utils.PyDataset):
        endless = data.num_batches is None
    else:
        return callable(data) and not isinstance(data, Iterable)
    if endless:
        raise ValueError(
            f"{what} repeat without end. Leave out `repeat`: epochs do that."
        )
    return True


def _collected(read: Iterable[Batch], what: str) -> Batch:
    """Put batches together in memory."""
    found: list[Batch] = []
    size, most = 0, memory() // 2
    for batch in read:
        found.append(batch)
        check_alike(found[0], batch, what, len(found) - 1)
        size += sum(x.nbytes for x in batch.inputs)
        if size > most:
            raise ValueError(
                f"{what} hold more than {most / 1e9:.1f} GB, half of the "
                "memory, or have no end. Give a function that makes the "
                "generator, to be read anew in each epoch."
            )
    if not found:
        raise ValueError(f"{what} hold no example.")

    return joined(np.concatenate, found)
