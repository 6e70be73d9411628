"""Which examples of each batch a replica has."""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from kbp.data.splits import Tensor


class Rows(NamedTuple):
    """Examples of a batch that follow each other.

    What changes them draws random numbers for the whole batch, which is quick
    beside reading it: an example's depend on its place in the batch, and not on
    how many replicas share it.

    Attributes:
        first: place in the batch of the first of them.
        count: how many they are.
        total: examples of the whole batch.
    """

    first: Tensor
    count: Tensor
    total: Tensor

    @classmethod
    def all_of(cls, batch: Tensor) -> "Rows":
        """Return all examples of a batch."""
        count = tf.shape(batch)[0]
        return cls(0, count, count)

    @property
    def places(self) -> Tensor:
        """Their places in the batch."""
        return self.first + tf.range(self.count, dtype=tf.int64)

    def of(self, values: Tensor, axis: int = 0) -> Tensor:
        """Return what of the values of a batch belongs to these examples.

        Args:
            values: one for each example of the batch, along an axis.
            axis: see `values`.
        """
        return tf.gather(values, self.places, axis=axis)


@dataclass(frozen=True)
class Shares:
    """The shares that the replicas of one worker have of each batch.

    Attributes:
        first: number of the first of them.
        count: how many this worker has, one behind the other.
        total: into how many each batch is divided.

    Example:
    >>> [Shares(worker, total=3).rows(worker, 8)[:2] for worker in range(3)]
    [(0, 2), (2, 3), (5, 3)]
    """

    first: int = 0
    count: int = 1
    total: int = 1

    def rows(self, share: Tensor, batch_size: Tensor) -> Rows:
        """Return the examples of a batch that one share is.

        Args:
            share: number of the share.
            batch_size: examples of the batch.
        """
        first, end = (batch_size * n // self.total for n in (share, share + 1))
        count = end - first
        if isinstance(batch_size, int) and batch_size % self.total == 0:
            # Of a shape that is known, where it can be: TPUs need it.
            count = batch_size // self.total
        return Rows(first, count, batch_size)

    def turn(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch and the share that this worker takes next.

        Args:
            number: of shares that it took before.
        """
        return number // self.count, self.first + number % self.count

    def of(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Return these shares of batches that cannot be read in part."""
        if self.total == 1:
            return batches

        def share(number: Tensor, *batch: Tensor) -> tuple[Tensor, ...]:
            first = tf.nest.flatten(batch)[0]
            size = first.shape[0] or tf.shape(first, tf.int64)[0]
            rows = self.rows(number, size)
            found: tuple[Tensor, ...] = tf.nest.map_structure(rows.of, batch)
            return found

        numbers = tf.data.Dataset.range(self.first, self.first + self.count)
        return batches.flat_map(
            lambda *batch: numbers.map(lambda number: share(number, *batch))
        )


WHOLE = Shares()
