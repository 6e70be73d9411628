"""Arrays of tests that are read by index, as if they were on a disk."""

from dataclasses import replace

from kbp.data import Examples
from kbp.data.lazy import Lazy


class Held(Lazy):
    """An array in memory, which counts what is read at once."""

    def __init__(self, array, most=None):
        super().__init__(array.shape, array.dtype)
        self.array, self.most, self.largest = array, most, 0

    def read(self, indices):
        self.largest = max(self.largest, len(indices))
        if self.most and len(indices) > self.most:
            raise AssertionError(f"{len(indices)} examples at once")
        return self.array[indices]


def lazily(splits, most, *fields):
    """Return splits whose arrays are read at most so many examples at once."""

    def part(examples):
        arrays = {x: Held(getattr(examples, x), most) for x in fields}
        return replace(examples, **arrays)

    return replace(
        splits,
        train=part(splits.train),
        validation=part(splits.validation),
        test=part(splits.test),
    )


def bytes_of(splits):
    """Return splits whose inputs are bytes."""

    def part(examples):
        inputs = (examples.inputs * 255).round().astype("uint8")
        return Examples(inputs, examples.labels, examples.names)

    return replace(
        splits,
        train=part(splits.train),
        validation=part(splits.validation),
        test=part(splits.test),
    )
