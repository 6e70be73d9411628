"""Arrays that are read by index, when they are needed."""

import atexit
import contextlib
import functools
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from kbp._utils.examples import BATCH_SIZE
from kbp.errors import UserError

Tensor = Any  # TensorFlow has no types
_CHUNK_BYTES = 2**24  # of what is looked through in parts
DIGEST_BYTES = 16  # of a digest
_failures: list[UserError] = []  # of reads that TensorFlow asked for


class Lazy(ABC):
    """An array `(examples, ...)` that need not fit into memory.

    `array[3]`, `array[10:20]` and `array[indices]` read values, as of an array
    of NumPy's; `view` and `map` read nothing yet. What would read all of it by
    accident, such as `np.asarray`, is a TypeError.

    A subclass gives `read`.

    Args:
        shape: with the number of examples.
        dtype: of the values.

    Example:
    >>> import numpy as np
    >>> from kbp.data.lazy import Lazy
    >>> class Squares(Lazy):
    ...     def read(self, indices):
    ...         return indices**2
    >>> squares = Squares((1_000_000,), "int64")
    >>> squares[999].item(), squares[2:5].tolist()
    (998001, [4, 9, 16])
    >>> squares.view(np.array([5, 7])).map(np.sqrt, (), "float64")[:2].tolist()
    [5.0, 7.0]
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return some examples; several threads call this at a time.

        Args:
            indices: integers `(n,)` from 0 to the number of examples - 1, in
                any order, perhaps one twice, perhaps none.

        Returns:
            `(n, ...)`, of the dtype and shape that were promised.

        Raises:
            UserError: an example cannot be read; it names which.
        """

    def digests(self) -> list[bytes]:
        """Return a digest of each example; equal ones are equal."""
        return [digest(example) for part in chunks(self) for example in part]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take in memory."""
        return int(np.prod(self.shape, dtype="float64")) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Read one example by its number, or several by a slice or indices."""
        if isinstance(key, int | np.integer):
            return self[np.array([key])][0]
        return self.read(_indices(key, len(self)))

    def __iter__(self) -> Iterator[Any]:
        for part in chunks(self):
            yield from part

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} of shape {self.shape} is read by index, "
            "not whole; take `array[first:last]`, or go by "
            "`kbp.data.lazy.chunks`."
        )

    def view(self, key: Any) -> "Lazy":
        """Return what reads some of the examples.

        Args:
            key: a slice, or indices.
        """
        return _View(self, _indices(key, len(self)))

    def map(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: Any,
    ) -> "Lazy":
        """Return what reads the examples as a function changes them.

        Args:
            function: `function(examples) -> examples`, of each by itself.
            shape: of one example then.
            dtype: likewise.
        """
        return _Mapped(self, function, shape, dtype)


Array = np.ndarray | Lazy


class _View(Lazy):
    """Some examples of another."""

    whole: Lazy
    chosen: np.ndarray

    def __init__(self, whole: Lazy, chosen: np.ndarray):
        if isinstance(whole, _View):
            chosen, whole = whole.chosen[chosen], whole.whole
        super().__init__((len(chosen), *whole.shape[1:]), whole.dtype)
        self.whole, self.chosen = whole, chosen

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.whole.read(self.chosen[indices])

    def digests(self) -> list[bytes]:
        if isinstance(self.whole, Known):
            return [self.whole.digest_of(index) for index in self.chosen]
        return super().digests()


class _Mapped(Lazy):
    """Another's examples, changed one by one."""

    def __init__(
        self,
        whole: Lazy,
        function: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: Any,
    ):
        super().__init__((len(whole), *shape), dtype)
        self.whole, self.function = whole, function

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.function(self.whole.read(indices))


class Known(Lazy):
    """An array of which all examples were read before.

    Args:
        whole: the array.
        digests: of its examples, one behind the other.
    """

    def __init__(self, whole: Lazy, digests: bytes):
        super().__init__(whole.shape, whole.dtype)
        self.whole, self.held = whole, digests

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.whole.read(indices)

    def digest_of(self, index: int) -> bytes:
        """Return the digest of one example."""
        return self.held[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def digests(self) -> list[bytes]:
        return [*map(self.digest_of, range(len(self)))]


def _indices(key: Any, count: int) -> np.ndarray:
    """Return a slice, a mask or indices as indices from 0 on."""
    if isinstance(key, slice):
        return np.arange(*key.indices(count))
    found = np.asarray(key)
    if found.dtype == bool and found.shape == (count,):
        return np.flatnonzero(found)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise TypeError(
            "Examples are read by a number, a slice or an array of indices. "
            f"Received: {key!r}"
        )
    found = found.astype("int64")
    wrong = (found < -count) | (found >= count)
    if wrong.any():
        raise IndexError(f"{found[wrong][0]} is no index of {count} examples.")
    return np.where(found < 0, found + count, found)


def chunks(array: Array, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield all examples in order, a few at a time.

    Args:
        array: in memory or not.
        size: examples of each part; by default some megabytes.
    """
    for part in ranges(array, size):
        yield array[part]


def ranges(array: Array, size: int | None = None) -> Iterator[slice]:
    """Yield the slices of such parts, which also fit what belongs to them."""
    each = max(1, array.nbytes // max(1, len(array)))
    size = size or max(1, _CHUNK_BYTES // each)
    for first in range(0, len(array), size):
        yield slice(first, min(first + size, len(array)))


def digest(example: np.ndarray) -> bytes:
    """Return a digest of an example's values."""
    return hashlib.blake2b(
        np.ascontiguousarray(example).tobytes(), digest_size=DIGEST_BYTES
    ).digest()


def by_parts(
    function: Callable[[np.ndarray], Any], inputs: Any, unit: int = BATCH_SIZE
) -> Any:
    """Return what a function makes of examples, in parts of those not held.

    Args:
        function: `function(inputs) -> outputs`, an array or several.
        inputs: an array, or what else the function takes.
        unit: examples that the function looks at together; parts are whole
            numbers of them.
    """
    if not isinstance(inputs, Lazy) or not len(inputs):
        return function(inputs[:] if isinstance(inputs, Lazy) else inputs)
    first, *_ = ranges(inputs)
    size = unit * max(1, first.stop // unit)
    parts = [function(part) for part in chunks(inputs, size)]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


@contextlib.contextmanager
def named_failures(advice: str) -> Iterator[None]:
    """Turn an error of TensorFlow about a read back into the read's own.

    Args:
        advice: what to do then.

    Raises:
        UserError: an example could not be read, in the threads of tf.data.
    """
    _failures.clear()
    try:
        yield
    except (tf.errors.OpError, UserError):
        if _failures:
            raise UserError(f"{_failures[0]} {advice}") from None
        raise


class _Reads:
    """Reads in the threads of tf.data, which come to rest as Python ends.

    They read ahead as long as an iterator lives, and a thread that asks for
    Python when it has ended aborts the process.
    """

    def __init__(self) -> None:
        self.count, self.over = 0, False

    def run(self, array: Lazy, indices: np.ndarray) -> np.ndarray:
        self.count += 1
        if self.over:
            raise UserError("Python ends, and nothing is read any more.")
        return array.read(indices)

    def rest(self) -> None:
        """Read no more, and wait until nobody asks."""
        self.over, before = True, -1
        while before != self.count:
            before = self.count
            time.sleep(0.1)


_reads = _Reads()


@functools.cache
def _rest_at_exit() -> None:
    """Register it once, where there is a lazy array at all."""
    atexit.register(_reads.rest)


def looked_up(array: Array) -> Callable[[Tensor], Tensor]:
    """Return `lookup(indices) -> examples` for tf.data, of tensors.

    Args:
        array: in memory, or read in the threads of tf.data.
    """
    if not isinstance(array, Lazy):
        with tf.device("CPU:0"):  # not in an accelerator's memory
            held = tf.constant(array)
        return lambda indices: tf.gather(held, indices)

    _rest_at_exit()

    def read(indices: np.ndarray) -> np.ndarray:
        try:
            return _reads.run(array, indices)
        except UserError as error:
            _failures.append(error)  # TensorFlow wraps it in its own words
            raise

    def lookup(indices: Tensor) -> Tensor:
        found = tf.numpy_function(read, [indices], array.dtype, stateful=False)
        found.set_shape((*indices.shape, *array.shape[1:]))
        return found

    return lookup
