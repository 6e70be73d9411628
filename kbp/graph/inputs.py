"""What a model's inputs and layers can take."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kbp.errors import UserError
from kbp.graph.nodes import Node, nodes
from kbp.graph.traits import traits_of

# What gives an index on as it is.
_SAME = (
    *("Cast", "ConvertToTensor", "ExpandDims", "Flatten", "Identity"),
    *("Reshape", "Squeeze"),
)


@dataclass(frozen=True)
class Indices:
    """An input whose values are indices.

    Attributes:
        place: which input it is.
        input_name: its name.
        layer_name: the layer that looks rows up.
        rows: how many it has.
    """

    place: int
    input_name: str
    layer_name: str
    rows: int


def indices_of(model: keras.Model) -> list[Indices]:
    """Return which inputs of a model are indices, of how many rows.

    Args:
        model: a functional model, flat.

    Example:
    >>> import keras, kbp
    >>> words = keras.Input((4,), dtype="int32", name="words")
    >>> table = keras.layers.Embedding(10, 3, name="table")
    >>> model = keras.Model(words, table(words))
    >>> kbp.graph.indices_of(model)
    [Indices(place=0, input_name='words', layer_name='table', rows=10)]
    """
    names = [x.name for x in model.inputs]
    found = []
    for node in nodes(model):
        traits = traits_of(node.operation)
        table = getattr(node.operation, str(traits.kernel), None)
        name = _origin(node) if traits.reads_indices else ""
        if name in names and table is not None:
            place, rows = names.index(name), int(table.shape[0])
            found.append(Indices(place, name, node.operation.name, rows))
    return found


def _origin(node: Node) -> str:
    """Return the name of the input whose values a use reads; "" if none."""
    while node.inputs:
        (tensor, *_) = node.inputs
        makers = [
            x for x in node.producers if any(y is tensor for y in x.outputs)
        ]
        if not makers:
            return str(tensor.name)
        (node,) = makers
        if type(node.operation).__name__ not in _SAME:
            break
    return ""


def check_indices(
    found: Sequence[Indices],
    inputs: Sequence[np.ndarray],
    what: str,
    before: int = 0,
) -> None:
    """Raise a UserError for an index of no row, which LiteRT does not take.

    Keras counts negative ones from the end, and TensorFlow says little.

    Args:
        found: see `indices_of`.
        inputs: a batch of each input.
        what: what the examples are, for the message.
        before: how many examples came before the batch.

    Raises:
        UserError: a value is none of the indices.

    Example:
    >>> import keras, numpy as np, kbp
    >>> words = keras.Input((4,), dtype="int32", name="words")
    >>> model = keras.Model(words, keras.layers.Embedding(10, 3)(words))
    >>> found = kbp.graph.indices_of(model)
    >>> kbp.graph.check_indices(found, [np.full((2, 4), 9)], "The data")
    """
    for one in found:
        # Floats are cut off to integers, as Keras does.
        values = np.trunc(inputs[one.place])
        wrong = ~((values >= 0) & (values < one.rows))
        if wrong.any():
            rows = wrong.reshape(len(wrong), -1).any(axis=1)
            raise UserError(
                f"{what} hold {inputs[one.place][wrong][0]} in input "
                f"{one.input_name!r} of example {before + np.argmax(rows)}, "
                f"and such in {rows.sum()} of {len(rows)}: layer "
                f"{one.layer_name} has {one.rows} rows, so whole numbers from "
                f"0 to {one.rows - 1} are right."
            )


def check_inputs(model: keras.Model) -> None:
    """Raise a UserError for an input that no 8-bit file can take.

    That is one in float64, or one that is an output as well.

    Args:
        model: a functional model.

    Raises:
        UserError: there is one.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> kbp.graph.check_inputs(model)
    """
    for x in model.inputs:
        if x.dtype == "float64":
            raise UserError(
                f"Input {x.name!r} of model {model.name} is float64, which no "
                "8-bit file takes. Make it keras.Input(..., dtype='float32'); "
                "arrays of float64 fit that, too."
            )
        if any(x is y for y in model.outputs):
            raise UserError(
                f"Input {x.name!r} of model {model.name} is an output as well, "
                "which no 8-bit file gives back. Leave it out of the outputs."
            )
