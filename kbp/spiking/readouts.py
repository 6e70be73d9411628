"""What a spiking network answers, from its spikes over time."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.arguments import check_number, check_one_of
from kbp._utils.types import Shape, Tensor

KINDS = ("rate", "membrane", "first_spike")


@keras.saving.register_keras_serializable(package="kbp")
class Readout(keras.layers.Layer):
    """Make spikes or currents over time into one value for each feature.

    | kind            | value                                                 |
    | --------------- | ----------------------------------------------------- |
    | `"rate"`        | the mean over time, from `settle` on                  |
    | `"membrane"`    | the last potential of a neuron that never fires,      |
    |                 | `v = leak v + x`, over what a current of 1 would give |
    | `"first_spike"` | which share of the time is left at the first spike, 0 |
    |                 | if none comes                                         |

    Args:
        kind: a name of the table.
        leak: of `"membrane"`, more than 0 and at most 1.
        settle: of `"rate"`, which share of the time at the beginning does not
            count, in [0, 1): in deep networks the first spikes come before
            those that would have held them back.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, time, ...)`; zeros and ones for `"first_spike"`.

    Returns:
        Tensor `(batch, ...)`.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import kbp, keras
    >>> spikes = keras.ops.array([[[0.0], [1.0], [1.0], [0.0]]])
    >>> [
    ...     float(kbp.spiking.Readout(kind)(spikes)[0, 0])
    ...     for kind in ("rate", "first_spike")
    ... ]
    [0.5, 0.75]
    """

    def __init__(
        self,
        kind: str = "rate",
        *,
        leak: float = 1.0,
        settle: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_one_of(KINDS, kind=kind)
        check_number(leak=leak, settle=settle)
        if not 0 < leak <= 1 or (leak < 1 and kind != "membrane"):
            raise ValueError(
                "Argument `leak` is of kind='membrane', more than 0 and at "
                f"most 1. Received: leak={leak!r}, kind={kind!r}"
            )
        if not 0 <= settle < 1 or (settle and kind != "rate"):
            raise ValueError(
                "Argument `settle` is of kind='rate', at least 0 and less than "
                f"1. Received: settle={settle!r}, kind={kind!r}"
            )
        self.kind, self.leak = kind, float(leak)
        self.settle = float(settle)

    def call(self, inputs: Tensor) -> Tensor:
        if self.kind == "rate":
            first = int(self.settle * inputs.shape[1])
            return ops.mean(inputs[:, first:], axis=1)
        time, rank = inputs.shape[1], len(inputs.shape)
        if self.kind == "first_spike":
            silent = ops.cumprod(1 - inputs, axis=1)
            return ops.mean(1 - silent, axis=1)
        weights = self.leak ** np.arange(time - 1.0, -1.0, -1.0)
        shares = ops.array(weights / weights.sum(), inputs.dtype)
        shares = ops.reshape(shares, (time, *[1] * (rank - 2)))
        return ops.sum(inputs * shares, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        own = {"kind": self.kind, "leak": self.leak, "settle": self.settle}
        return {**super().get_config(), **own}
