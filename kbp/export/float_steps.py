"""The steps of float outputs that are made of integers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.examples import Batch
from kbp.quantization import FakeQuantize, FloatGate
from kbp.quantization.placement.rules import copies, is_float, takes_units

# Of a column's largest: it is computed in another order, and has an offset.
FLOAT_ERROR = 2.0**-22

Made = dict[int, tuple[keras.Operation, tuple[Any, ...], dict[str, Any]]]


class FloatSteps:
    """Computes what one step is of each float that a model answers with.

    It is by how much the answer moves where the integer that it is made of, by
    moving it or by giving it the data's own units, is the next one.

    Args:
        model: functional or Sequential.
        floats: for each output of the file, which may be another model's,
            whether it is of floats; others have steps of their own.
    """

    def __init__(self, model: keras.Model, floats: Sequence[bool]) -> None:
        self._places: list[int] = []
        if not any(floats):
            return
        made: Made = {}

        def record(
            operation: keras.Operation, *args: Any, **kwargs: Any
        ) -> Any:
            outputs = operation(*args, **kwargs)
            if isinstance(outputs, keras.KerasTensor):
                made[id(outputs)] = operation, args, kwargs
            return outputs

        flat = graph.rewrite(graph.flatten(model), call=record)
        pairs = []
        for place, (x, wanted) in enumerate(
            zip(flat.outputs, floats, strict=False)
        ):
            moved = _moved(x, made) if wanted and is_float(x) else None
            if moved is not None:
                pairs += [x, moved]
                self._places.append(place)
        if pairs:
            self._model = keras.Model(flat.inputs, pairs)

    def of(self, batch: Batch) -> dict[int, np.ndarray]:
        """Return the steps of a batch, by the places of the outputs.

        Args:
            batch: of the model.
        """
        if not self._places:
            return {}
        outputs = iter(self._model(list(batch.inputs), training=False))
        found = {}
        for place in self._places:
            here, there = (
                keras.ops.convert_to_numpy(next(outputs)) for _ in range(2)
            )
            error = FLOAT_ERROR * np.abs(here).max(axis=0, initial=0.0)
            found[place] = np.abs(there - here) + error + 1e-30
        return found


def _moved(x: Any, made: Made) -> Any:
    """Return a tensor one step further, `None` if nothing rounded it."""
    if id(x) not in made:
        return None
    operation, args, kwargs = made[id(x)]
    if isinstance(operation, FakeQuantize):
        name = f"{operation.name}_step_{id(x)}"  # as no layer has
        scale = float(operation.scale())
        return keras.layers.Rescaling(1.0, scale, name=name)(x)
    passes = isinstance(operation, FloatGate) or copies(operation)
    if not (passes or takes_units(operation)):
        return None
    for tensor in graph.tensors_of((args, kwargs)):
        moved = _moved(tensor, made)
        if moved is not None:
            args, kwargs = keras.tree.map_structure(
                lambda y, old=tensor, new=moved: new if y is old else y,
                (args, kwargs),
            )
            return operation(*args, **kwargs)
    return None
