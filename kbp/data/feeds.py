"""Examples that a person has in memory or streams, for training."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
from kbp.data.batches import evaluation_batches, training_batches
from kbp.data.checks.values import (
    any_weight,
    check_alike,
    check_values,
    check_weights,
)
from kbp.data.splits import Lookup
from kbp.errors import UserError

# `check(batch, before)`, of a batch and the number of examples before it.
Check = Callable[[Batch, int], None]


class Feed(ABC):
    """Examples of one split, read as often as training asks for them.

    Elements are `(inputs, targets)` or `(inputs, targets, weights)`, the inputs
    a tensor, or of several inputs a dictionary by their names.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def steps(self, batch_size: int) -> int:
        """Return how many batches an epoch has."""

    @abstractmethod
    def training(
        self, batch_size: int, *, seed: int, start_step: int
    ) -> tf.data.Dataset:
        """Return endless batches from a step on."""

    @abstractmethod
    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Return all examples once, in order."""


@dataclass(frozen=True)
class ArrayFeed(Feed):
    """Arrays, of which a batch is a function of (seed, step).

    Attributes:
        names: of the model's inputs.
        arrays: the examples.
    """

    names: tuple[str, ...]
    arrays: Batch

    def __len__(self) -> int:
        return len(self.arrays)

    def steps(self, batch_size: int) -> int:
        return len(self) // batch_size

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> element`, of tensors."""
        with tf.device("CPU:0"):  # not in an accelerator's memory
            held = keras.tree.map_structure(
                tf.constant, element(self.arrays, self.names)
            )
        return lambda indices: keras.tree.map_structure(
            lambda x: tf.gather(x, indices), held
        )

    def training(
        self, batch_size: int, *, seed: int, start_step: int
    ) -> tf.data.Dataset:
        return training_batches(
            self, batch_size, seed=seed, start_step=start_step
        )

    def batches(self, batch_size: int) -> tf.data.Dataset:
        return evaluation_batches(self, batch_size)

    def take(self, indices: np.ndarray) -> "ArrayFeed":
        """Return the examples of some indices."""
        return ArrayFeed(self.names, self.arrays.take(indices))


class StreamFeed(Feed):
    """A data set that is read anew in each epoch, in batches of its own.

    It is read once at first, to count and check its examples.

    Args:
        data: a `tf.data.Dataset`, a `PyDataset` or a function that makes a
            generator.
        shapes: of the model's inputs.
        what: what the data are, for messages.
        batch_size: of data that come as one example each.
    """

    def __init__(
        self,
        data: Any,
        shapes: Shapes,
        what: str,
        batch_size: int,
        check: Check | None = None,
    ):
        self.data, self.shapes, self.what = data, shapes, what
        self.batch_size, self.check = batch_size, check
        self.count = self.length = 0
        self.failure: Exception | None = None
        self.digest = hashlib.sha256()
        weighed = False
        for batch in self.read():
            for array in keras.tree.flatten(element(batch, tuple(shapes))):
                self.digest.update(np.ascontiguousarray(array).tobytes())
            self.last = batch
            weighed = weighed or any_weight(batch)
            self.count, self.length = self.count + len(batch), self.length + 1
        if not self.count:
            raise ValueError(f"{what} hold no example.")
        if not weighed:
            check_weights(self.last, what)
        self.signature = keras.tree.map_structure(
            _spec, element(self.last, tuple(shapes))
        )

    def read(self) -> Iterator[Batch]:
        """Yield all batches once, each of which is checked.

        Raises:
            ValueError: a batch cannot be read or learned from, or there are
                fewer than at first.
        """
        place = before = 0
        first: Batch | None = None
        for batch in batches(
            self.data, self.shapes, self.what, batch_size=self.batch_size
        ):
            first = first or batch
            check_alike(first, batch, self.what, place)
            check_values(batch, self.what, before)
            if self.check:
                self.check(batch, before)
            yield batch
            place, before = place + 1, before + len(batch)
        if place < self.length:
            raise UserError(
                f"{self.what} end before batch {place} when they are read "
                f"again, and had {self.length} at first: each reading must "
                "give as many; let the function make a new generator."
            )

    def __len__(self) -> int:
        return self.count

    def steps(self, batch_size: int) -> int:
        return self.length

    def training(
        self, batch_size: int, *, seed: int, start_step: int
    ) -> tf.data.Dataset:
        return self.batches(batch_size).repeat().skip(start_step % self.length)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        def elements() -> Iterator[Any]:
            try:
                for batch in self.read():
                    yield element(batch, tuple(self.shapes))
            except ValueError as error:
                self.failure = error  # TensorFlow wraps it in its own words
                raise
            if isinstance(self.data, keras.utils.PyDataset):
                self.data.on_epoch_end()

        return tf.data.Dataset.from_generator(
            elements, output_signature=self.signature
        ).prefetch(tf.data.AUTOTUNE)


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
        check_values(found, what)
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


def element(batch: Batch, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return a batch as `fit` takes it."""
    inputs: Any = dict(zip(names, batch.inputs, strict=True))
    if len(names) == 1:
        (inputs,) = batch.inputs
    rest = (batch.targets, batch.weights)
    return inputs, *(_without_lists(x) for x in rest if x is not None)


def _without_lists(value: Any) -> Any:
    """Return a structure with tuples for lists, which tf.data stacks."""
    if isinstance(value, dict):
        return {name: _without_lists(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_without_lists, value))
    return value


def _column(value: Any) -> Any:
    """Return numbers as a column, as `fit` gives those of arrays to losses."""
    if value is None:
        return None
    array = np.asarray(value)  # pandas indexes otherwise
    return array[:, None] if array.ndim == 1 else array


def _spec(value: Any) -> tf.TensorSpec:
    array = np.asarray(value)
    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)


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

    return joined(lambda *x: np.concatenate(x), found)
