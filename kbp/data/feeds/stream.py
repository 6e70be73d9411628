"""Examples that are read anew in each epoch."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp._utils.examples import Batch, Shapes, batches
from kbp.data.batches import AHEAD
from kbp.data.checks.values import (
    any_weight,
    check_alike,
    check_values,
    check_weights,
)
from kbp.data.feeds.base import Feed, element
from kbp.data.feeds.contents import sum_of_examples
from kbp.data.shares import WHOLE, Shares
from kbp.errors import UserError

# `check(batch, before)`, of a batch and the number of examples before it.
Check = Callable[[Batch, int], None]


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
        self.first: Batch | None = None
        self.signature: Any = None
        self.read_whole = self.read_again = False
        # Whether the second reading gave other examples, in whatever order.
        self.differs = False
        self.contents = 0
        self.digest = hashlib.sha256()
        weighed = False
        for batch in self.read():
            parts = element(batch, tuple(shapes))
            for array in keras.tree.flatten(parts):
                self.digest.update(np.ascontiguousarray(array).tobytes())
            self.contents += sum_of_examples(keras.tree.flatten(parts))
            specs = keras.tree.map_structure(_spec, parts)
            if self.signature is None:
                self.first, self.signature = batch, specs
            self.signature = keras.tree.map_structure(
                _common, self.signature, specs
            )
            weighed = weighed or any_weight(batch)
            self.count, self.length = self.count + len(batch), self.length + 1
        if not self.count:
            raise ValueError(f"{what} hold no example.")
        if not weighed:
            check_weights(batch, what)
        self.read_whole = True

    def read(self) -> Iterator[Batch]:
        """Yield all batches once, each of which is checked.

        Raises:
            ValueError: a batch cannot be read or learned from, or there are
                fewer or more than at first.
        """
        place = before = contents = 0
        for batch in batches(
            self.data, self.shapes, self.what, batch_size=self.batch_size
        ):
            check_alike(self.first or batch, batch, self.what, place)
            if self.read_whole:
                parts = self.check_known(batch, place)
                if not self.read_again:
                    contents += sum_of_examples(parts)
            check_values(batch, self.what, before, (*self.shapes,))
            if self.check:
                self.check(batch, before)
            yield batch
            place, before = place + 1, before + len(batch)
        if place < self.length:
            raise self.changed(
                f"end before batch {place}", f"{self.length} batches"
            )
        if self.read_whole and not self.read_again:
            self.read_again = True
            self.differs = (contents - self.contents) % 2**64 != 0

    def check_known(self, batch: Batch, place: int) -> list[Any]:
        """Return a batch's arrays; raise a UserError if it is a new one."""
        if place == self.length:
            raise self.changed("go on", f"{place} batches")
        parts = keras.tree.flatten(element(batch, tuple(self.shapes)))
        known = keras.tree.flatten(self.signature)
        for spec, part in zip(known, parts, strict=True):
            if not spec.shape.is_compatible_with(np.shape(part)):
                now = f"have {np.shape(part)[1:]} in batch {place}"
                raise self.changed(now, f"{tuple(spec.shape[1:])}")
        return parts

    def changed(self, now: str, at_first: str) -> UserError:
        """Return an error for what is not as when the data were counted."""
        return UserError(
            f"{self.what} {now} when they are read again, and had {at_first} "
            "at first: each reading must give the same; let a function make a "
            "new generator."
        )

    def __len__(self) -> int:
        return self.count

    def input_shapes(self) -> list[tuple[int | None, ...]]:
        inputs, *_ = self.signature
        several = isinstance(inputs, dict)  # which flattens by its names
        specs = [inputs[name] for name in self.shapes] if several else [inputs]
        return [tuple(x.shape[1:]) for x in specs]

    def steps(self, batch_size: int) -> int:
        return self.length

    def training(
        self,
        batch_size: int,
        *,
        seed: int,
        start_step: int,
        shares: Shares = WHOLE,
    ) -> tf.data.Dataset:
        endless = self.batches(batch_size).repeat()
        return shares.of(endless.skip(start_step % self.length))

    def batches(
        self, batch_size: int, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        def elements() -> Iterator[Any]:
            try:
                for batch in self.read():
                    yield element(batch, tuple(self.shapes))
            except ValueError as error:
                self.failure = error  # TensorFlow wraps it in its own words
                raise
            if isinstance(self.data, keras.utils.PyDataset):
                self.data.on_epoch_end()

        made = tf.data.Dataset.from_generator(
            elements, output_signature=self.signature
        )
        return shares.of(made).prefetch(AHEAD)


def _spec(value: Any) -> tf.TensorSpec:
    array = np.asarray(value)
    return tf.TensorSpec((None, *array.shape[1:]), array.dtype)


def _common(one: tf.TensorSpec, other: tf.TensorSpec) -> tf.TensorSpec:
    """Return what describes the arrays of two batches."""
    shape = [
        a if a == b else None
        for a, b in zip(one.shape, other.shape, strict=True)
    ]
    kinds = (x.dtype.as_numpy_dtype for x in (one, other))
    return tf.TensorSpec(shape, np.result_type(*kinds))
