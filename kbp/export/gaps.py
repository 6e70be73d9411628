"""How far outputs of a file are from a model's."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kbp.export.indices import Behind
from kbp.export.interpreter import quantize

HARDLY = 1e-4  # of its size: far below a step of eight bits


class Gap:
    """Collects how far one output of a file is from the model's.

    Args:
        details: LiteRT's, of the output.

    Attributes:
        scale: the step of a rounded output, zero of another.
        is_float: whether the output is of floats.
        same: how many values are the model's.
    """

    def __init__(self, details: dict[str, Any]):
        self.details = details
        self.scale = float(details["quantization"][0])
        self.is_float = np.issubdtype(details["dtype"], np.floating)
        self.same = 0
        self._whole = not self.is_float and not self.scale
        self._near = 0
        self._largest = 0.0
        self._differences: list[np.ndarray] = []
        self._floats: list[np.ndarray] = []

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
        if self._whole:
            others = expected != found
            steps = others.astype("float64")
            if behind is not None:
                steps = behind.steps_between(expected, found)
            self._near += int(np.sum(steps <= 1 if behind else ~others))
            self.same += int(np.sum(~others))
            self._differences.append(steps.ravel())
            return
        self._largest = max(self._largest, float(np.abs(expected).max()))
        if self.scale:
            if expected.dtype != found.dtype:
                expected = quantize(expected, self.details)
            expected = expected.astype(np.int32)
        steps = np.abs(found.astype(expected.dtype) - expected)
        if self.is_float and step is not None:
            self._floats.append(steps.ravel())
            steps = (steps / step).round(3)
        self.same += int(np.sum(steps == 0))
        self._differences.append(steps.ravel())

    @property
    def is_empty(self) -> bool:
        """Whether nothing was compared."""
        return not self._differences

    @property
    def steps(self) -> np.ndarray:
        """The differences of all values, in steps or floats."""
        return np.concatenate(self._differences)

    @property
    def in_floats(self) -> np.ndarray:
        """The differences of all values, in the output's own unit."""
        if self._floats:
            return np.concatenate(self._floats)
        return self.steps * (self.scale or 1)

    @property
    def has_steps(self) -> bool:
        """Whether the differences are told in steps."""
        return not self.is_float or bool(self._floats)

    @property
    def near(self) -> int:
        """How many values are at most one step away."""
        if self._whole:
            return self._near
        bound = 1 if self.has_steps else 1e-3 * self._largest
        return int(np.sum(self.steps <= bound))


def summary_of(gaps: Sequence[Gap]) -> dict[str, Any]:
    """Return the differences of all outputs, see `Verification`.

    Args:
        gaps: of the outputs.
    """
    whole = all(gap.has_steps for gap in gaps)
    # Beside floats of which no step is known, steps are told in floats.
    every = np.concatenate(
        [gap.steps if whole else gap.in_floats for gap in gaps]
    )
    return {
        "outputs": every.size,
        "unit": "LSB" if whole else "float",
        "maximum": float(every.max()),
        "mean": float(every.mean()),
        "within_one": float(sum(gap.near for gap in gaps) / every.size),
        "exact": float(sum(gap.same for gap in gaps) / every.size),
    }


class Drift:
    """Collects how far a file's outputs are from another model's.

    Attributes:
        constant: after `share`, whether an output of the other model, or a
            column of it, deviates by less than `HARDLY` of its size.
    """

    def __init__(self) -> None:
        self.constant = False
        self.pairs: list[list[tuple[np.ndarray, np.ndarray]]] = []

    def add(self, expected: Any, found: Sequence[np.ndarray]) -> None:
        floats = map(keras.ops.convert_to_numpy, keras.tree.flatten(expected))
        self.pairs.append(list(zip(floats, found, strict=True)))

    def share(self) -> float:
        """Return the greatest of the outputs' drifts, in their deviations.

        Of outputs with columns, as of a regression with several targets, it is
        that of the worst column. Of integers it is the share that differ: an
        index has no size. A column of probabilities may be nearly
        constant and means nothing then.
        """
        shares = []
        for parts in zip(*self.pairs, strict=True):
            expected, found = map(np.concatenate, zip(*parts, strict=True))
            if expected.dtype.kind != "f":
                shares.append(np.mean(expected != found))
                continue
            expected, found = (x.astype("float64") for x in (expected, found))
            columns = expected.ndim == 2 and not _are_probabilities(expected)
            axis = 0 if columns else None
            gap = np.sqrt(np.mean((found - expected) ** 2, axis=axis))
            width = np.std(expected, axis=axis)
            size = np.abs(expected).max(axis=axis)
            self.constant |= bool(np.any(width < HARDLY * size))
            # A constant is no nearer than what differs by its own size; of
            # one that is zero, nobody knows the size.
            largest = np.abs(expected).max() or 1.0
            width = np.where(width > 0, width, largest)
            shares.append(np.max(gap / width))
        return float(np.max(shares))


def _are_probabilities(x: np.ndarray) -> bool:
    return bool(x.min() >= 0 and np.allclose(x.sum(axis=-1), 1, atol=1e-3))
