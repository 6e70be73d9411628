"""Which values of a model go over the wire, and by what names."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

Arrays = dict[str, np.ndarray]


class Exchange:
    """The values of a model that clients and server exchange.

    All floats are exchanged, also the statistics of BatchNormalization and the
    thresholds of masks. States of random numbers stay where they are. A value's
    name is its place and the variable's own name, as those of layers depend on
    what a process has built before.

    Args:
        model: a built model.

    Attributes:
        statistics: names of what no gradient trains.
        of_batch_norm: names of the values of BatchNormalization.
    """

    def __init__(self, model: keras.Model):
        kept = [v for v in model.variables if _is_float(v)]
        self.variables = {f"{n}.{v.name}": v for n, v in enumerate(kept)}
        trained = {id(v) for v in model.trainable_variables}
        norms = {id(v) for layer in _norms(model) for v in layer.variables}
        named = self.variables.items()
        self.statistics = {n for n, v in named if id(v) not in trained}
        self.of_batch_norm = {n for n, v in named if id(v) in norms}

    def read(self, names: Iterable[str] | None = None) -> Arrays:
        """Return values by name, by default all."""
        chosen = self.variables if names is None else sorted(names)
        return {
            name: keras.ops.convert_to_numpy(self.variables[name])
            for name in chosen
        }

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set values by name."""
        for name, array in arrays.items():
            self.variables[name].assign(array)


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Return the states of a model's random numbers, such as of Dropout."""
    return [v for v in model.variables if v.name == "seed_generator_state"]


def _is_float(variable: keras.Variable) -> bool:
    return "float" in keras.backend.standardize_dtype(variable.dtype)


def _norms(model: keras.Model) -> list[keras.Layer]:
    kind = keras.layers.BatchNormalization
    return [x for x in model._flatten_layers() if isinstance(x, kind)]
