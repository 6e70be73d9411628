"""Reading examples, whatever form they come in."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.examples.batch import Batch, joined

Shape = tuple[int | None, ...]
# Shapes of a model's inputs without their batch axis, by their names.
Shapes = Mapping[str, Shape]
BATCH_SIZE = 32


def shapes_of(model: keras.Model) -> dict[str, Shape]:
    """Return the shapes of a functional model's inputs, by their names.

    Raises:
        ValueError: they are not known.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"Model {model.name} is not built, or neither functional nor "
            "Sequential, so its inputs are not known. Received: "
            f"{type(model).__name__}"
        )
    names = [x.name for x in model.inputs]
    structure = None if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, dict) and len(structure) == len(names):
        names = sorted(structure)  # the order of `inputs`, too
    return {
        name: tuple(x.shape[1:])
        for name, x in zip(names, model.inputs, strict=True)
    }


def batches(
    data: Any,
    shapes: Shapes,
    what: str,
    *,
    batch_size: int = BATCH_SIZE,
    at_most: int | None = None,
) -> Iterator[Batch]:
    """Read examples as batches.

    Args:
        data: an array; `(inputs, targets)` or `(inputs, targets, weights)`; for
            several inputs a dictionary by their names, or a list; a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator, a
            function that makes one, or a list, of batches like these or of one
            example each.
        shapes: of the model's inputs.
        what: what the data are, for messages.
        batch_size: of arrays, and of data that come as one example each.
        at_most: of arrays, how many examples to take, spread evenly.

    Yields:
        Batches that are not empty.

    Raises:
        ValueError: the data have another shape, hold no numbers, or inputs and
            targets differ in their number.
    """
    reader = _Reader(shapes, what, batch_size)
    whole = reader.whole(data)
    if whole is not None:
        yield from reader.cut(whole, at_most)
        return
    yield from reader.collect(_named(_elements(data, what), what))


def first(data: Any, shapes: Shapes, what: str, count: int) -> Iterator[Batch]:
    """Read some examples as batches, the last one perhaps cut.

    Args:
        data: see `batches`, and so are the others.
        shapes: of the model's inputs.
        what: what the data are, for messages.
        count: how many to take; of arrays spread evenly, else the first ones.
    """
    for batch in batches(data, shapes, what, at_most=count):
        taken = batch.take(np.arange(min(count, len(batch))))
        yield taken
        count -= len(taken)
        if not count:
            break


def whole(data: Any, shapes: Shapes, what: str) -> Batch | None:
    """Return examples that are arrays as one batch, others as `None`.

    Args:
        data: see `batches`.
        shapes: of the model's inputs.
        what: what the data are, for messages.

    Raises:
        ValueError: they are arrays of another shape.
    """
    return _Reader(shapes, what, BATCH_SIZE).whole(data)


def check_arrays(
    model: keras.Model, x: Any, y: Any = None, sample_weight: Any = None
) -> None:
    """Raise a ValueError if arrays do not fit a model, or hold no example.

    Args:
        model: of which a subclass may have no known inputs; then all fits.
        x: inputs of all examples.
        y: targets, if there are any.
        sample_weight: of the examples, likewise.
    """
    if not getattr(model, "inputs", None):
        return
    reader = _Reader(shapes_of(model), "The examples", BATCH_SIZE)
    found = reader.whole((x, y, sample_weight))
    if found is None:
        raise ValueError(
            f"The examples must be arrays of {reader.expected()}. Received: "
            f"{_kind(x)}"
        )
    if not len(found):
        raise ValueError("The examples are none: they have 0 rows.")


class _Reader:
    """Reads batches of one kind of examples."""

    def __init__(self, shapes: Shapes, what: str, batch_size: int):
        self.names, self.shapes = list(shapes), list(shapes.values())
        self.what, self.batch_size = what, batch_size

    def whole(self, data: Any) -> Batch | None:
        """Return data that are arrays as one batch, others as `None`."""
        if isinstance(data, tuple) and data and self.is_inputs(data[0]):
            batch = self.batch(data)
        elif _is_array(data) or isinstance(data, Mapping):
            batch = self.batch((data,))
        elif isinstance(data, tuple | list) and self.is_several(data):
            batch = self.batch((list(data),))
        else:
            return None
        if self.is_one(batch):
            raise self.wrong(batch.inputs)
        rest = map(self.as_array, (batch.targets, batch.weights))
        batch = Batch(batch.inputs, *rest)
        self.check(batch)
        return batch

    def as_array(self, value: Any) -> Any:
        """Return a list of numbers as an array, all else as it is."""
        if isinstance(value, list) and not any(map(np.ndim, value[:1])):
            return np.asarray(value)
        return value

    def is_inputs(self, value: Any) -> bool:
        """Say whether a value is as many arrays as there are inputs."""
        if _is_array(value):
            return len(self.shapes) == 1
        if isinstance(value, Mapping):
            return len(value) == len(self.shapes)
        return isinstance(value, tuple | list) and (
            len(value) == len(self.shapes) and all(map(_is_array, value))
        )

    def is_several(self, value: Sequence[Any]) -> bool:
        """Say whether a list is the arrays of several inputs."""
        return len(self.shapes) > 1 and self.is_inputs(value)

    def batch(self, element: Any) -> Batch:
        """Read inputs, or a tuple that begins with them."""
        if not isinstance(element, tuple | list) or self.is_several(element):
            element = (element,)
        if not 1 <= len(element) <= 3 or not self.is_inputs(element[0]):
            raise ValueError(
                f"{self.what} must be inputs, (inputs, targets) or (inputs, "
                f"targets, weights), with inputs of {self.expected()}. "
                f"Received: {_kind(element)}"
            )
        inputs, *rest = element
        if isinstance(inputs, Mapping):
            inputs = self.in_order(inputs)
        arrays = keras.tree.flatten(inputs)
        rest = keras.tree.map_structure(_widened, rest)
        return Batch(tuple(self.array(x) for x in arrays), *rest)

    def in_order(self, inputs: Mapping[str, Any]) -> list[Any]:
        lost = [name for name in self.names if name not in inputs]
        left = [name for name in inputs if name not in self.names]
        # Some .tflite files call an input after its first operation.
        if len(lost) == len(left) == 1 and lost[0].startswith("tfl."):
            inputs = {**inputs, lost[0]: inputs[left[0]]}
        elif lost or left:
            raise ValueError(
                f"{self.what} must have the inputs {', '.join(self.names)}. "
                f"Received: {', '.join(map(str, inputs))}. A list in that "
                "order needs no names."
            )
        return [inputs[name] for name in self.names]

    def array(self, value: Any) -> np.ndarray:
        try:
            array = np.asarray(_widened(value))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.what} hold a {type(value).__name__}, which is no array."
            ) from error
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{self.what} must be numbers. Received: {array.dtype}"
            )
        return array

    def is_one(self, batch: Batch) -> bool:
        """Say whether a batch is one example, without a batch axis."""
        return all(
            _fits(x.shape, shape)
            for x, shape in zip(batch.inputs, self.shapes, strict=True)
        )

    def check(self, batch: Batch) -> None:
        """Raise a ValueError if a batch does not fit."""
        for x, shape in zip(batch.inputs, self.shapes, strict=True):
            # Keras, too, takes numbers for vectors of one.
            numbers = shape == (1,) and x.ndim == 1
            if not x.ndim or not (_fits(x.shape[1:], shape) or numbers):
                raise self.wrong(batch.inputs)
        for name in ("inputs", "targets", "weights"):
            for other in keras.tree.flatten(getattr(batch, name)):
                count = np.shape(other)[:1]
                if other is not None and count != (len(batch),):
                    raise ValueError(
                        f"{self.what} have {len(batch)} examples, but {name} "
                        f"of shape {np.shape(other)}."
                    )

    def wrong(self, inputs: Sequence[np.ndarray]) -> ValueError:
        """Return the error that names the shapes."""
        received = ", ".join(str(x.shape) for x in inputs)
        advice = ""
        if len(inputs) == 1:
            (x,), (shape,) = inputs, self.shapes
            if _fits(x.shape, shape):
                advice = ", which is one example: pass batches, as x[None]"
            elif _fits((*x.shape[1:], 1), shape):
                advice = ", without the last axis: pass x[..., None]"
        return ValueError(
            f"{self.what} must be batches of {self.expected()}. Received: "
            f"{received}{advice}"
        )

    def expected(self) -> str:
        """Say which shapes batches have."""
        return ", ".join(
            f"({', '.join(['batch', *map(str, shape)])})"
            for shape in self.shapes
        )

    def cut(self, whole: Batch, at_most: int | None) -> Iterator[Batch]:
        """Cut arrays into batches."""
        count = len(whole)
        chosen = np.arange(count)
        if at_most is not None and at_most < count:
            chosen = np.linspace(0, count - 1, at_most).round().astype(int)
        for start in range(0, len(chosen), self.batch_size):
            yield whole.take(chosen[start : start + self.batch_size])

    def collect(self, elements: Iterable[Any]) -> Iterator[Batch]:
        """Give batches as they are, and single examples together."""
        singles: list[Batch] = []
        for element in elements:
            batch = self.batch(element)
            if self.is_one(batch):
                singles.append(batch)
                if len(singles) == self.batch_size:
                    yield joined(np.stack, singles)
                    singles = []
                continue
            self.check(batch)
            if len(batch):
                yield batch
        if singles:
            yield joined(np.stack, singles)


def _elements(data: Any, what: str) -> Iterable[Any]:
    if isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        places = itertools.count() if count is None else range(count)
        return (data[place] for place in places)
    if callable(data) and not isinstance(data, Iterable):
        data = data()
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise ValueError(
            f"{what} must be arrays, a data set or batches. Received: "
            f"{_kind(data)}"
        )
    return data


def _named(elements: Iterable[Any], what: str) -> Iterator[Any]:
    """Yield elements, and name the one that cannot be made."""
    place = 0
    try:
        for element in elements:
            yield element
            place += 1
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{what}: batch {place} cannot be read: {type(error).__name__}: "
            f"{said}"
        ) from error


def _kind(value: Any) -> str:
    """Describe a value without printing what it holds."""
    if _is_array(value):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list) and len(value) <= 4:
        inside = ", ".join(map(_kind, value))
        return f"a {type(value).__name__} of {inside}" if value else "nothing"
    return f"a {type(value).__name__}"


def _widened(value: Any) -> Any:
    """Return numbers of bfloat16, which are none of NumPy's, as float32."""
    kind = getattr(getattr(value, "dtype", None), "name", "")
    return np.asarray(value).astype("float32") if kind == "bfloat16" else value


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "__array__")


def _fits(received: Sequence[int], shape: Shape) -> bool:
    return len(received) == len(shape) and all(
        n in (None, m) for m, n in zip(received, shape, strict=True)
    )
