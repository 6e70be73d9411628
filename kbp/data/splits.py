"""What every data set gives."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Inputs and labels of one split, in memory.

    Attributes:
        inputs: float32 `(examples, ...)`.
        labels: int64 `(examples,)`.
    """

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def take(self, indices) -> "Examples":
        """Return the examples of some indices."""
        return Examples(self.inputs[indices], self.labels[indices])


@dataclass(frozen=True)
class Splits:
    """A data set, split.

    Hyper-parameters are chosen on `validation`; `test` is for the result.
    """

    train: Examples
    validation: Examples
    test: Examples
    class_names: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]
