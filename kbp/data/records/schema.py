"""What one record holds: the arrays of an example, byte by byte."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = "uif"  # of values: whole numbers and floats
_PART = 2**22  # bytes of records in memory


@dataclass(frozen=True)
class Array:
    """One array of an example.

    Attributes:
        shape: of the array of one example.
        dtype: of its values as they are given to a model.
        stored: of its values in the record, which lose nothing by it.
    """

    shape: tuple[int, ...]
    dtype: str
    stored: str

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Array":
        """Read what an index says of an array.

        Raises:
            ValueError: it is no array's shape and types.
        """
        shape = tuple(values["shape"])
        if not all(type(size) is int and size > 0 for size in shape):
            raise ValueError(f"a shape of {shape}")
        kinds = [np.dtype(values[name]) for name in ("dtype", "stored")]
        if any(kind.kind not in KINDS for kind in kinds):
            raise ValueError(f"an array of {kinds[0]} stored as {kinds[1]}")
        return cls(shape, *(kind.name for kind in kinds))


@dataclass(frozen=True)
class Schema:
    """The arrays of an example, each with the number of the example before it.

    Attributes:
        inputs: what a model takes.
        labels: what it is to give.
    """

    inputs: Array
    labels: Array

    @property
    def record(self) -> np.dtype[Any]:
        """The bytes of a record, little-endian.

        Before the arrays are the number of its packing and that of the example
        in its split, so a record in a wrong place is known as such.
        """
        return np.dtype(
            [
                ("packing", "<u8"),
                ("number", "<u8"),
                *(
                    (name, np.dtype(a.stored).newbyteorder("<"), a.shape)
                    for name, a in vars(self).items()
                ),
            ]
        )

    def parts(self, first: int, count: int) -> Iterator[range]:
        """Yield the numbers of some records, of a few megabytes each.

        Args:
            first: of the records.
            count: of the records.
        """
        step, last = max(1, _PART // self.record.itemsize), first + count
        for start in range(first, last, step):
            yield range(start, min(start + step, last))

    def said(self) -> str:
        """Return the arrays in words."""
        return ", ".join(
            f"{name} {'x'.join(map(str, array.shape)) or 'one'} {array.dtype}"
            for name, array in vars(self).items()
        )


@dataclass(frozen=True)
class Moments:
    """Sums over the values of each channel, from which statistics come.

    Attributes:
        count: of values of a channel.
        sums: of the values.
        squares: sums of their squares.
        least: of them.
        largest: of them.
    """

    count: int
    sums: tuple[float, ...]
    squares: tuple[float, ...]
    least: tuple[float, ...]
    largest: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Return those of an array whose last axis are the channels."""
        flat = values.reshape(-1, values.shape[-1])
        if values.dtype == np.uint8:  # ten times as fast
            levels = np.arange(256.0)
            times = [np.bincount(x, minlength=256) for x in flat.T]
            sums = [float(n @ levels) for n in times]
            squares = [float(n @ levels**2) for n in times]
        else:
            floats = flat.astype("float64")
            sums = floats.sum(0).tolist()
            squares = (floats**2).sum(0).tolist()
        least, largest = flat.min(0).tolist(), flat.max(0).tolist()
        arrays = (sums, squares, least, largest)
        return cls(len(flat), *map(tuple, arrays))

    def __add__(self, other: "Moments") -> "Moments":
        def joined(how: Any, a: tuple[float, ...], b: tuple[float, ...]) -> Any:
            return tuple(map(how, a, b))

        return Moments(
            self.count + other.count,
            joined(lambda a, b: a + b, self.sums, other.sums),
            joined(lambda a, b: a + b, self.squares, other.squares),
            joined(min, self.least, other.least),
            joined(max, self.largest, other.largest),
        )

    def statistics(self) -> dict[str, list[float]]:
        """Return mean, standard deviation and range of each channel."""
        means = [total / self.count for total in self.sums]
        spread = [
            math.sqrt(max(0.0, square / self.count - mean**2))
            for square, mean in zip(self.squares, means, strict=True)
        ]
        return {
            "mean": means,
            "deviation": spread,
            "least": [*self.least],
            "largest": [*self.largest],
        }
