"""A batch of examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Batch:
    """A batch of examples.

    Attributes:
        inputs: an array for each of the model's inputs, in their order.
        targets: as they were given, `None` without.
        weights: of the examples, `None` without.
    """

    inputs: tuple[np.ndarray, ...]
    targets: Any = None
    weights: Any = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, chosen: np.ndarray) -> "Batch":
        """Return the examples of some indices."""
        return joined(lambda x: np.asarray(x[0])[chosen], [self])

    def for_model(self, model: keras.Model) -> Any:
        """Return the inputs in the structure that a model takes."""
        if isinstance(model, keras.Sequential):  # which may have no `input`
            return self.inputs[0]
        return keras.tree.pack_sequence_as(model.input, list(self.inputs))


def joined(join: Callable[..., np.ndarray], parts: Sequence[Batch]) -> Batch:
    """Return one batch of several.

    Args:
        join: `join(arrays)`, of each array that the parts have.
        parts: of the same structure.

    Raises:
        ValueError: examples have other sizes than others.
    """

    def together(*values: Any) -> Any:
        if values[0] is None:
            return None
        try:
            return join(values)
        except ValueError as error:
            shapes = [*dict.fromkeys(map(np.shape, values))]
            raise ValueError(
                "Examples must be of one size to be put together: pad or cut "
                f"them. Received: {' and '.join(map(str, shapes[:2]))}"
            ) from error

    return Batch(
        *keras.tree.map_structure(
            together, *((x.inputs, x.targets, x.weights) for x in parts)
        )
    )
