"""Data as batches that can be read again and again."""

from collections.abc import Iterator
from typing import Any

import keras

from kbp._utils.arguments import check_integer
from kbp.diagnostics.weights import rows

Batch = tuple[Any, Any, Any]  # inputs, targets, perhaps weights of examples


class Batches:
    """Batches of arrays, or those that are given.

    Args:
        data: a tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or what
            yields such tuples each time it is iterated over: a list, a
            `tf.data.Dataset`, a `keras.utils.PyDataset`.
        batch_size: into which arrays are cut.

    Raises:
        ValueError: the data can be read once only or are no such thing, or the
            arrays are of different lengths.
    """

    def __init__(self, data: Any, batch_size: int):
        check_integer(batch_size=batch_size)
        if isinstance(data, tuple):
            self.count = rows(_whole(data), "data")
        elif not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
            raise ValueError(
                "Argument `data` must be a tuple (x, y) or batches. "
                f"Received: {type(data).__name__}"
            )
        elif hasattr(data, "__next__"):
            raise ValueError(
                "Argument `data` must be batches that can be read several "
                f"times, such as a list. Received: {type(data).__name__}"
            )
        self.data, self.batch_size = data, batch_size

    def __iter__(self) -> Iterator[tuple[Batch, int]]:
        """Yield batches, and how many examples each holds.

        Raises:
            ValueError: there are none, or one is no such tuple.
        """
        empty = True
        for batch in self._batches():
            whole, empty = _whole(batch), False
            yield whole, rows(whole, "data")
        if empty:
            raise ValueError("Argument `data` must hold a batch or more.")

    def _batches(self) -> Iterator[Any]:
        if isinstance(self.data, tuple):
            for start in range(0, self.count, self.batch_size):
                part = slice(start, start + self.batch_size)
                yield keras.tree.map_structure(
                    lambda x, part=part: None if x is None else x[part],
                    self.data,
                )
        elif isinstance(self.data, keras.utils.PyDataset):
            for index in range(len(self.data)):
                yield self.data[index]
        else:
            yield from self.data


def _whole(batch: Any) -> Batch:
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise ValueError(
            "Argument `data` must hold tuples (x, y) or (x, y, sample_weight). "
            f"Received: {type(batch).__name__}"
        )
    x, y, *weights = batch
    return x, y, weights[0] if weights else None
