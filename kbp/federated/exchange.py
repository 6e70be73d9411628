"""Which values of a model go over the wire, and by what names."""

from collections.abc import Iterable, Mapping, Sequence

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
        moments: of each BatchNormalization the names of its mean and variance,
            and how much of them stays after a step.
    """

    def __init__(self, model: keras.Model):
        kept = [v for v in model.variables if _is_float(v)]
        self.variables = {f"{n}.{v.name}": v for n, v in enumerate(kept)}
        trained = {id(v) for v in model.trainable_variables}
        norms = {id(v) for layer in _norms(model) for v in layer.variables}
        named = self.variables.items()
        self.statistics = {n for n, v in named if id(v) not in trained}
        self.of_batch_norm = {n for n, v in named if id(v) in norms}
        names = {id(v): n for n, v in named}
        self.moments = [
            (
                names[id(layer.moving_mean)],
                names[id(layer.moving_variance)],
                float(layer.momentum),
            )
            for layer in _norms(model)
        ]

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

    def moments_of_round(self, before: Arrays, steps: int) -> Arrays:
        """Return the mean and variance of BatchNormalization in some steps.

        The moving averages hold `m^n` of what they were before `n` steps. With
        a few steps in a round that would be most of it for many rounds, so it
        is taken out.

        Args:
            before: their values before the steps.
            steps: `n`.
        """
        found: Arrays = {}
        for mean, variance, momentum in self.moments:
            stays = momentum**steps
            if stays > 1 - 1e-6:
                continue
            for name, now in self.read([mean, variance]).items():
                found[name] = (now - stays * before[name]) / (1 - stays)
            # One of 0 has become less by rounding.
            found[variance] = np.maximum(found[variance], 0)
        return {k: v.astype("float32") for k, v in found.items()}


def pooled(
    exchange: Exchange, arrays: Sequence[Arrays], weights: Sequence[float]
) -> Arrays:
    """Return means and variances over all clients' values together.

        mean = sum w_k mean_k
        variance = sum w_k (variance_k + mean_k^2) - mean^2

    Args:
        exchange: of the model.
        arrays: of the clients.
        weights: of the clients, in any unit.
    """
    found: Arrays = {}
    shares = np.asarray(weights, "float64") / np.sum(weights)
    for first, second, _ in exchange.moments:
        means = np.stack([a[first].astype("float64") for a in arrays])
        variances = np.stack([a[second].astype("float64") for a in arrays])
        mean = np.tensordot(shares, means, 1)
        square = np.tensordot(shares, variances + means**2, 1)
        found[first] = mean.astype("float32")
        found[second] = np.maximum(square - mean**2, 0).astype("float32")
    return found


def _is_float(variable: keras.Variable) -> bool:
    return "float" in keras.backend.standardize_dtype(variable.dtype)


def _norms(model: keras.Model) -> list[keras.Layer]:
    kind = keras.layers.BatchNormalization
    return [x for x in model._flatten_layers() if isinstance(x, kind)]
