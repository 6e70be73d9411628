"""Indices that a model answers with, and the scores they are chosen by."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.examples import Batch
from kbp.quantization import FakeQuantize
from kbp.quantization.placement.rules import is_float

CHOOSING = ("Argmax", "Argmin", "TopK")  # operations by a score of each
FLOAT_STEP = 1e-5  # of the largest score: float32 adds in another order


@dataclass(frozen=True)
class Behind:
    """The scores that a batch of indices was chosen by.

    Attributes:
        scores: array with an axis of what is chosen from.
        axis: that axis.
        step: between two scores, in their unit.
        keeps: whether the indices have that axis too.
    """

    scores: np.ndarray
    axis: int
    step: float
    keeps: bool

    def steps_between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return by how many steps the scores of two indices differ."""
        one, other = (
            np.take_along_axis(
                self.scores,
                x if self.keeps else np.expand_dims(x, self.axis),
                axis=self.axis,
            )
            for x in (left, right)
        )
        steps = np.abs(one - other).reshape(left.shape) / self.step
        return np.where(left == right, 0.0, steps.round(3))


class Scores:
    """Computes the scores behind those outputs of a model that are indices.

    Args:
        model: functional or Sequential.
    """

    def __init__(self, model: keras.Model) -> None:
        self._found: list[tuple[int, keras.Operation, float | None]] = []
        if all(map(is_float, model.outputs)):
            return
        made: dict[int, tuple[keras.Operation, list[Any]]] = {}

        def record(
            operation: keras.Operation, *args: Any, **kwargs: Any
        ) -> Any:
            outputs = operation(*args, **kwargs)
            entry = operation, graph.tensors_of((args, kwargs))
            made.update((id(x), entry) for x in graph.tensors_of(outputs))
            return outputs

        flat = graph.rewrite(graph.flatten(model), call=record)
        scores = []
        for place, x in enumerate(flat.outputs):
            operation, inputs = made.get(id(x), (None, []))
            if type(operation).__name__ in CHOOSING and not is_float(x):
                scores.append(inputs[0])
                step = _step_of(inputs[0], made)
                self._found.append((place, operation, step))
        if scores:
            self._model = keras.Model(flat.inputs, scores)

    def of(self, batch: Batch) -> dict[int, Behind]:
        """Return the scores of a batch, by the places of the outputs."""
        if not self._found:
            return {}
        outputs = self._model(list(batch.inputs), training=False)
        found = {}
        for x, (place, operation, step) in zip(
            keras.tree.flatten(outputs), self._found, strict=True
        ):
            scores = keras.ops.convert_to_numpy(x)
            largest = float(np.abs(scores).max(initial=0.0))
            found[place] = Behind(
                scores,
                getattr(operation, "axis", -1),
                step or FLOAT_STEP * largest or 1.0,
                getattr(operation, "keepdims", True),
            )
        return found


def _step_of(
    x: Any, made: dict[int, tuple[keras.Operation, list[Any]]]
) -> float | None:
    """Return the step that a tensor is rounded to, `None` if it is not."""
    while id(x) in made:
        operation, inputs = made[id(x)]
        if isinstance(operation, FakeQuantize):
            return float(operation.scale())
        if graph.traits_of(operation).rounding != "copied":
            return None
        x = inputs[0]
    return None
