"""When which neuron of a spiking network fires."""

from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.examples import first, shapes_of
from kbp.spiking.neurons import IntegrateAndFire


def raster(model: keras.Model, data: Any) -> dict[str, np.ndarray]:
    """Return the spikes of a network for the first of some examples.

    Args:
        model: of `to_spiking`, or of layers of `kbp.spiking`.
        data: inputs in any form that `fit` takes.

    Returns:
        By the name of each layer with neurons, truths `(time, neurons)`.

    Raises:
        ValueError: the model has no spiking neurons, or the data do not fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> inputs = keras.Input((4, 1))
    >>> spikes = kbp.spiking.IntegrateAndFire(name="neurons")(inputs)
    >>> model = keras.Model(inputs, kbp.spiking.Readout()(spikes))
    >>> found = kbp.spiking.raster(model, np.full((1, 4, 1), 0.5, "float32"))
    >>> found["neurons"][:, 0].tolist()
    [False, True, False, True]
    """
    model, nodes = graph.retraced(model)
    found = [x for x in nodes if isinstance(x.operation, IntegrateAndFire)]
    if not found:
        raise ValueError(f"Model {model.name} has no spiking neurons.")
    watched = keras.Model(model.input, [node.outputs[0] for node in found])
    batch = next(iter(first(data, shapes_of(model), "Data", 1)))
    values = keras.tree.flatten(watched(batch.for_model(model), training=False))
    return {
        node.operation.name: keras.ops.convert_to_numpy(x)[0].reshape(
            x.shape[1], -1
        )
        != 0
        for node, x in zip(found, values, strict=True)
    }
