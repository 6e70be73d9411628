"""How far outputs of a file are from a model's."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp.export.indices import Behind
from kbp.export.interpreter import quantize

HARDLY = 1e-4  # of its size: far below a step of eight bits


class Gap:
    """Sums up how far one output of a file is from the model's.

    Args:
        details: LiteRT's, of the output.

    Attributes:
        scale: the step of a rounded output, zero of another.
        is_float: whether the output is of floats.
        count: how many values were compared.
        same: how many of them are the model's.
        steps: the differences of all values, in steps or floats.
        in_floats: the same in the output's own unit.
    """

    def __init__(self, details: dict[str, Any]):
        self.details = details
        self.scale = float(details["quantization"][0])
        self.is_float = np.issubdtype(details["dtype"], np.floating)
        self.count = self.same = 0
        self.steps, self.in_floats = Differences(), Differences()
        self._whole = not self.is_float and not self.scale
        self._near = 0
        self._largest = 0.0
        self._stepped = False
        # Of floats without steps, those that are far by what is known so far.
        self._far = np.zeros(0)

    def add(
        self,
        expected: np.ndarray,
        found: np.ndarray,
        behind: Behind | None,
        step: np.ndarray | None = None,
    ) -> None:
        """Compare a batch.

        Args:
            expected: what the model gives, in floats or in the file's type.
            found: what the file gives, in its type.
            behind: the scores that indices are chosen by, if they are known.
            step: of floats, what one step of each is, if that is known.
        """
        self.count += expected.size
        if self._whole:
            others = expected != found
            steps = others.astype("float64")
            if behind is not None:
                steps = behind.steps_between(expected, found)
            self._near += int(np.sum(steps <= 1 if behind else ~others))
            self.same += int(np.sum(~others))
            self.steps.add(steps)
            self.in_floats.add(steps)
            return
        self._largest = max(self._largest, float(np.abs(expected).max()))
        if self.scale:
            if expected.dtype != found.dtype:
                expected = quantize(expected, self.details)
            expected = expected.astype(np.int32)
        steps = np.abs(found.astype(expected.dtype) - expected)
        self.in_floats.add(steps * (self.scale or 1))
        if self.is_float and step is not None:
            self._stepped = True
            steps = (steps / step).round(3)
        self.same += int(np.sum(steps == 0))
        self.steps.add(steps)
        if self.has_steps:
            self._near += int(np.sum(steps <= 1))
        else:
            # What is near stays near, as the largest value only grows.
            far = np.concatenate([self._far, steps.ravel()])
            self._far = far[~(far <= 1e-3 * self._largest)]

    @property
    def has_steps(self) -> bool:
        """Whether the differences are told in steps."""
        return not self.is_float or self._stepped

    @property
    def near(self) -> int:
        """How many values are at most one step away."""
        if self._whole or self.has_steps:
            return self._near
        return self.count - len(self._far)


class Differences:
    """The sum and the largest of what comes batch by batch."""

    def __init__(self) -> None:
        self.total, self.largest = 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Take a batch's differences, none of which is negative."""
        self.total += float(values.sum(dtype="float64"))
        self.largest = float(np.maximum(self.largest, values.max()))


def summary_of(gaps: Sequence[Gap]) -> dict[str, Any]:
    """Return the differences of all outputs, see `Verification`.

    Args:
        gaps: of the outputs.
    """
    whole = all(gap.has_steps for gap in gaps)
    # Beside floats of which no step is known, steps are told in floats.
    every = [gap.steps if whole else gap.in_floats for gap in gaps]
    count = sum(gap.count for gap in gaps)
    return {
        "outputs": count,
        "unit": "LSB" if whole else "float",
        "maximum": float(np.max([x.largest for x in every])),
        "mean": sum(x.total for x in every) / count,
        "within_one": sum(gap.near for gap in gaps) / count,
        "exact": sum(gap.same for gap in gaps) / count,
    }


class Drift:
    """Sums up how far a file's outputs are from another model's.

    Attributes:
        constant: after `share`, whether an output of the other model, or a
            column of it, deviates by less than `HARDLY` of its size.
    """

    def __init__(self) -> None:
        self.constant = False
        self.moments: list[_Moments] = []

    def add(self, expected: Any, found: Sequence[np.ndarray]) -> None:
        """Compare a batch."""
        floats = [*map(ops.convert_to_numpy, keras.tree.flatten(expected))]
        self.moments = self.moments or [_Moments() for _ in floats]
        for one, x, y in zip(self.moments, floats, found, strict=True):
            one.add(x, y)

    def share(self) -> float:
        """Return the greatest of the outputs' drifts, in their deviations.

        Of outputs with columns, as of a regression with several targets, it is
        that of the worst column. Of integers it is the share that differ: an
        index has no size. A column of probabilities may be nearly
        constant and means nothing then.
        """
        shares = []
        for moments in self.moments:
            if not moments.of_floats:
                shares.append(moments.others / moments.count)
                continue
            gap, width, size = moments.measures()
            self.constant |= bool(np.any(width < HARDLY * size))
            # A constant is no nearer than what differs by its own size; of
            # one that is zero, nobody knows the size.
            largest = size.max() or 1.0
            width = np.where(width > 0, width, largest)
            shares.append(np.max(gap / width))
        return float(np.max(shares))


class _Moments:
    """Means and squares of an output's columns, batch by batch.

    Attributes:
        of_floats: whether the output is of floats.
        count: rows, or all values of what has no columns.
        others: how many integers differ.
    """

    def __init__(self) -> None:
        self.of_floats, self.probabilities = True, True
        self.count = self.others = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0
        self.gap: Any = 0.0
        self.size: Any = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Take a batch."""
        if expected.dtype.kind != "f":
            self.of_floats = False
            self.count += expected.size
            self.others += int(np.sum(expected != found))
            return
        flat = expected.ndim == 2
        if not flat or not _are_probabilities(expected):
            self.probabilities = False
        shape = expected.shape if flat else (-1, 1)
        x, y = (v.reshape(shape).astype("float64") for v in (expected, found))
        self.gap = self.gap + ((y - x) ** 2).sum(axis=0)
        self.size = np.maximum(self.size, np.abs(x).max(axis=0))
        # Means and squares of two parts make those of both (Chan, 1979).
        mean, before = x.mean(axis=0), self.count
        self.count += len(x)
        apart = mean - self.mean
        self.squares = (
            self.squares
            + ((x - mean) ** 2).sum(axis=0)
            + apart**2 * (before * len(x) / self.count)
        )
        self.mean = self.mean + apart * (len(x) / self.count)

    def measures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gap, deviation and size of each column, or of all together."""
        gap, squares = self.gap / self.count, self.squares / self.count
        size = self.size
        if self.probabilities:
            squares = np.mean(squares + (self.mean - self.mean.mean()) ** 2)
            gap, size = np.mean(gap), np.max(size)
        return np.sqrt(gap), np.sqrt(squares), np.asarray(size)


def _are_probabilities(x: np.ndarray) -> bool:
    return bool(x.min() >= 0 and np.allclose(x.sum(axis=-1), 1, atol=1e-3))
