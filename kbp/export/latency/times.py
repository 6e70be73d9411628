"""What single operations take, over their numbers of channels."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import ArrayLike

from kbp.export.interpreter import allocate, quantize
from kbp.export.latency.inputs import random_values
from kbp.export.latency.single import SingleOperation

STEP = 8  # processors compute so many channels at once, or a multiple
# Of the channels that come in; not halves alone, which may fall on lines of
# the caches that others use, too.
_PARTS = (0.125, 0.25, 0.5, 0.75, 1.0)
_COPIES = 3
_SECONDS = 0.0005  # that a file runs in one round; it runs at least once


@dataclass(frozen=True)
class OperationTimes:
    """What an operation takes with several numbers of channels.

    Attributes:
        inputs: numbers of channels that come in, rising.
        outputs: numbers of channels that go out, rising.
        milliseconds: for each of `inputs` one for each of `outputs`.

    Example:
    >>> from kbp.export.latency.times import OperationTimes
    >>> times = OperationTimes((8, 16), (8,), ((1.0,), (2.0,)))
    >>> float(times.at(12, 8))
    1.5
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    milliseconds: tuple[tuple[float, ...], ...]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Return what `dataclasses.asdict` made, and JSON made lists of."""
        milliseconds = tuple(tuple(times) for times in row["milliseconds"])
        return cls(tuple(row["inputs"]), tuple(row["outputs"]), milliseconds)

    def scaled(self, factor: float) -> Self:
        """Return the times, multiplied."""
        rows = [[factor * x for x in row] for row in self.milliseconds]
        return replace(self, milliseconds=tuple(map(tuple, rows)))

    def in_proportion(self, outputs: int) -> Self:
        """Return what it takes if that is in proportion to some channels.

        Args:
            outputs: as many as now.
        """
        all_of_them = self.milliseconds[-1][-1]
        return type(self)((0,), (0, outputs), ((0.0, all_of_them),))

    def at(self, inputs: ArrayLike, outputs: ArrayLike) -> np.ndarray:
        """Return the milliseconds, interpolated between what was measured.

        Args:
            inputs: numbers of channels that come in, of any shape.
            outputs: numbers of channels that go out, of the same shape.
        """
        inputs, outputs = np.asarray(inputs, float), np.asarray(outputs, float)
        rows = [np.interp(outputs, self.outputs, r) for r in self.milliseconds]
        place = np.interp(inputs, self.inputs, np.arange(len(rows)))
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, len(rows) - 1)
        low, high = (
            np.take_along_axis(np.stack(rows), row[None], 0)[0]
            for row in (below, above)
        )
        return low + (high - low) * (place - below)


def measured(
    single: SingleOperation,
    beside: Interpreter,
    num_threads: int,
    rounds: int,
) -> tuple[OperationTimes, float]:
    """Measure an operation with all its channels, and with fewer.

    Args:
        single: the operation.
        beside: what is measured in the same rounds.
        num_threads: of XNNPACK.
        rounds: of the measurement.

    Returns:
        The times, and what `beside` took meanwhile: more than at another time
        if the machine did something else, too.
    """
    # What comes in is read one after the other, so a few numbers tell the rest.
    inputs = sorted({_step(single.inputs * n) for n in _PARTS})
    outputs = sorted({single.outputs, *_fewer(single.outputs)})
    places = [(i, o) for i in inputs for o in outputs]
    contents = [
        single.content(i, o, copies)
        for i, o in places
        for copies in (1, _COPIES)
    ]
    runs = [beside, *(allocate(c, num_threads) for c in contents)]
    meanwhile, *found = shortest(runs, rounds)
    one, several = np.reshape(found, (len(inputs), len(outputs), 2)).transpose(
        2, 0, 1
    )
    each = np.maximum(several - one, 0.0) / (_COPIES - 1)
    # More channels take no less: what seems so is other work on the machine.
    each = np.maximum.accumulate(np.maximum.accumulate(each, 0), 1)
    rows = tuple(tuple(map(float, row)) for row in each)
    times = OperationTimes(tuple(inputs), tuple(outputs), rows)
    return times, float(meanwhile)


def _step(count: float) -> int:
    """Return a number of channels that processors compute at once."""
    return int(count) if count <= STEP else STEP * round(count / STEP)


def _fewer(count: int) -> Iterable[int]:
    """Yield numbers of channels below one, all small ones among them."""
    found = STEP
    while found < count:
        yield found
        found += STEP if found < 8 * STEP else found // 2 // STEP * STEP


def shortest(interpreters: Sequence[Interpreter], rounds: int) -> np.ndarray:
    """Run interpreters in turns, and return the least milliseconds of each."""
    counts = []
    for interpreter in interpreters:
        _fill(interpreter)
        _time(interpreter, 1)
        counts.append(max(1, int(_SECONDS / _time(interpreter, 1))))
    return 1000 * np.min(
        [
            [_time(x, n) for x, n in zip(interpreters, counts, strict=True)]
            for _ in range(rounds)
        ],
        axis=0,
    )


def _fill(interpreter: Interpreter) -> None:
    generator = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        values = quantize(random_values(details, generator), details)
        interpreter.set_tensor(details["index"], values)


def _time(interpreter: Interpreter, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        interpreter.invoke()
    return (time.perf_counter() - start) / calls
