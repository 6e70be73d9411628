"""What a spiking network would have answered, step by step."""

from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.examples import batches, shapes_of
from kbp.spiking.readouts import Readout


def outputs_over_time(model: keras.Model, data: Any) -> np.ndarray:
    """Return a spiking network's outputs, had it ended after each step.

    Args:
        model: of `to_spiking`, or another with one `Readout`.
        data: inputs in any form that `fit` takes.

    Returns:
        Array `(timesteps, examples, ...)`.

    Raises:
        ValueError: the model has no `Readout`, or several, or the data do not
            fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> inputs = keras.Input((3, 1))
    >>> spikes = kbp.spiking.IntegrateAndFire(2.0)(inputs)
    >>> model = keras.Model(inputs, kbp.spiking.Readout()(spikes))
    >>> x = np.ones((1, 3, 1), "float32")
    >>> kbp.spiking.outputs_over_time(model, x)[:, 0, 0].tolist()
    [0.0, 0.5, 0.3333333432674408]
    """
    model, nodes = graph.retraced(model)
    found = [node for node in nodes if isinstance(node.operation, Readout)]
    if len(found) != 1:
        raise ValueError(
            f"Model {model.name} has {len(found)} layers `Readout`, not one."
        )
    (node,) = found
    body = keras.Model(model.input, node.inputs[0])
    head = (
        (lambda x, **_: x)
        if node.is_output
        else keras.Model(node.outputs[0], model.output)
    )
    parts = []
    for batch in batches(data, shapes_of(model), "Data"):
        x = body(batch.for_model(model), training=False)
        steps = range(1, x.shape[1] + 1)
        parts.append(
            np.stack(
                [
                    keras.ops.convert_to_numpy(
                        head(node.operation(x[:, :t]), training=False)
                    )
                    for t in steps
                ]
            )
        )
    return np.concatenate(parts, axis=1)
