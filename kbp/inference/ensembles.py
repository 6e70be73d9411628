"""How far the members of an ensemble agree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._utils.run_files import MODEL
from kbp.errors import UserError
from kbp.graph import rewrite
from kbp.inference.loading import load_keras

ENSEMBLE = "ensemble"  # name of the layer that combines the members' outputs
_SIZE = 32  # of a batch
_Predict = Callable[[np.ndarray], np.ndarray]


def members_of(model: keras.Model) -> keras.Model | None:
    """Return the members of an ensemble as one model of several outputs.

    Args:
        model: any functional model; layers are shared.

    Returns:
        A model whose outputs are the members', in their order; `None` if the
        model is no ensemble.

    Example:
    >>> import keras
    >>> x = keras.Input((3,))
    >>> outputs = [keras.layers.Dense(2)(x) for _ in range(4)]
    >>> y = keras.layers.Average(name="ensemble")(outputs)
    >>> len(members_of(keras.Model(x, y)).outputs)
    4
    """
    found = list[Any]()

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if layer.name == ENSEMBLE and isinstance(args[0], list):
            found.append(args[0])
        return layer(*args, **kwargs)

    seen = rewrite(model, call=call)
    return keras.Model(seen.input, found[-1]) if found else None


def predict_members(path: Path) -> _Predict | None:
    """Return what predicts with each member of the ensemble that a file is of.

    Files for devices give what is combined alone, so the Keras model beside
    them answers, as it was before it was rounded.

    Args:
        path: of a file of a run.

    Returns:
        `predict(inputs) -> outputs`, `(members, batch, ...)`; `None` if there
        is no ensemble beside the file.
    """
    file = path.parent / MODEL
    if not file.is_file():
        return None
    members = members_of(load_keras(file))
    if members is None:
        return None
    shape = tuple(members.inputs[0].shape[1:])

    def predict(inputs: np.ndarray) -> np.ndarray:
        if inputs.shape[1:] != shape:
            raise UserError(
                f"{file}: takes {shape}, and {path.name} {inputs.shape[1:]}"
            )
        return np.stack(members.predict(inputs, batch_size=_SIZE, verbose=0))

    return predict


def mutual_information(probabilities: np.ndarray) -> np.ndarray:
    """Return how much the members' probabilities tell of the member.

        I = H(mean_m p_m) - mean_m H(p_m)

    It is 0 where all members agree, however unsure each is, and the logarithm
    of their number where each is sure of a class of its own: what more
    training data could settle, and not what they leave open.

    Args:
        probabilities: `(members, ..., classes)`.

    Returns:
        Array `(...)`, in nats.

    Example:
    >>> import numpy as np
    >>> one, two = np.eye(2)
    >>> found = mutual_information(np.array([[one, one], [one, two]]))
    >>> found.round(3).tolist()
    [0.0, 0.693]

    Reference:
        Houlsby et al., Bayesian Active Learning for Classification and
        Preference Learning, 2011; Lakshminarayanan et al., Simple and Scalable
        Predictive Uncertainty Estimation using Deep Ensembles, 2017.
    """
    p = np.asarray(probabilities, "float64")
    found = _entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)
    return np.maximum(found, 0.0)  # but for rounding it never is less


def _entropy(p: np.ndarray) -> np.ndarray:
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)
