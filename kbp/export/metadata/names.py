"""Names of a model's inputs and outputs, as files give them."""

import keras

from kbp import graph
from kbp._utils.examples import shapes_of


def input_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's inputs, in their order."""
    return [*shapes_of(model)]


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's outputs, in their order.

    Those of a quantization-aware model are the names of the model that it was
    made of, see `kbp.graph.output_names`.
    """
    return graph.output_names(model)
