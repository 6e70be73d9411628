"""A spiking network for series of events, trained through time."""

from typing import Any

import keras
from keras import layers

from kbp._utils.arguments import (
    check_integer,
    check_number,
    check_one_of,
    check_rate,
)
from kbp.models.registry import register_model
from kbp.models.regularization import kernel_options
from kbp.spiking import DirectCurrent, IntegrateAndFire, OverTime, Readout
from kbp.spiking.readouts import KINDS

_MOST_STEPS = 10_000


@register_model("spiking_mlp", in_float=True)
def SpikingMLP(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    timesteps: int | None = None,
    width: int = 128,
    num_layers: int = 1,
    leak: float = 0.9,
    learn_leak: bool = False,
    threshold: float = 1.0,
    learn_threshold: bool = False,
    reset: str = "soft",
    surrogate: str = "arctan",
    slope: float = 2.0,
    readout: str = "membrane",
    truncation: int | None = None,
    dropout: float = 0.0,
    l2: float = 0.0,
    initializer: str = "glorot_uniform",
    name: str = "spiking_mlp",
) -> keras.Model:
    """Build a spiking network of dense layers, to be trained through time.

        s(0)_t = x_t
        s(l)_t = neurons(W s(l-1)_t + b),    l = 1 ... num_layers
        y      = readout(W s(num_layers) + b)

    Neurons are those of `kbp.spiking.IntegrateAndFire`. A series of events has
    a time of its own; of other inputs the first currents flow at all of
    `timesteps`.

    | readout         | a class's logit is                                  |
    | --------------- | --------------------------------------------------- |
    | `"membrane"`    | the last potential of a neuron that never fires,    |
    |                 | over that of a current of 1                         |
    | `"rate"`        | how often its neuron fires                          |
    | `"first_spike"` | how many steps are left at its neuron's first spike |

    Args:
        input_shape: `(time, channels)`; or `(features,)`, or that of images,
            for which `timesteps` must be given.
        num_outputs: number of classes.
        timesteps: how long it runs, for inputs without a time, at most 10,000.
        width: neurons of each hidden layer.
        num_layers: how many of these there are.
        leak: what stays of a potential from step to step, more than 0 and at
            most 1.
        learn_leak: whether leaks below 1 are trained, one for each layer.
        threshold: of the neurons, positive.
        learn_threshold: whether thresholds are trained, one for each layer.
        reset: after a spike, `"soft"` takes the threshold from the potential,
            `"hard"` makes it 0.
        surrogate: `"arctan"`, `"fast_sigmoid"` or `"triangle"`, the derivative
            of a spike, see `kbp.spiking.spike`.
        slope: of the surrogate.
        readout: see the table.
        truncation: time steps that gradients go back; by default all of them.
        dropout: rate in [0, 1) behind each hidden layer.
        l2: factor of the squares of all kernels in the loss.
        initializer: of the kernels, such as `"he_normal"`, as Keras names them.
        name: the model's name.

    Returns:
        A functional model to logits `(batch, num_outputs)`.

    Raises:
        ValueError: an argument is out of range, or has no effect.

    Reference:
        Neftci, Mostafa and Zenke, Surrogate Gradient Learning in Spiking
        Neural Networks, 2019.

    Example:
    >>> import kbp
    >>> model = kbp.models.SpikingMLP((50, 64), 3, width=32)
    >>> model.output_shape
    (None, 3)
    """
    check_integer(num_outputs=num_outputs, width=width, num_layers=num_layers)
    check_one_of(KINDS, readout=readout)
    check_rate(dropout=dropout)
    _check_leak(leak, learn_leak)
    time = _time(input_shape, timesteps)
    _check_truncation(truncation, time)
    kernel = kernel_options(initializer, l2)
    options: dict[str, Any] = {
        "truncation": truncation,
        "leak": leak if leak < 1 else None,
        "reset": reset,
        "surrogate": surrogate,
        "slope": slope,
        "learn_threshold": learn_threshold,
        "learn_leak": learn_leak,
    }
    inputs = x = keras.Input(input_shape, name="inputs")
    for number in range(num_layers):
        dense = layers.Dense(width, name=f"layer{number}_dense", **kernel)
        if number == 0 and timesteps is not None:
            # Once, as its inputs are the same at all steps.
            x = dense(x if len(input_shape) == 1 else layers.Flatten()(x))
            x = DirectCurrent(timesteps, name="current")(x)
        else:
            x = OverTime(dense, name=f"layer{number}_current")(x)
        neurons = f"layer{number}_neurons"
        x = IntegrateAndFire(threshold, name=neurons, **options)(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"layer{number}_dropout")(x)
    logits = layers.Dense(num_outputs, name="logits_dense", **kernel)
    x = OverTime(logits, name="logits_current")(x)
    if readout == "membrane":
        outputs = Readout("membrane", leak=leak, name="logits")(x)
    else:
        x = IntegrateAndFire(threshold, name="logits_neurons", **options)(x)
        outputs = layers.Rescaling(time, name="logits")(
            Readout(readout, name="share")(x)
        )
    return keras.Model(inputs, outputs, name=name)


def _check_leak(leak: float, learn_leak: bool) -> None:
    check_number(leak=leak)
    if not 0 < leak <= 1 or (learn_leak and leak == 1):
        raise ValueError(
            "Argument `leak` must be more than 0 and at most 1, or below 1 if "
            f"it is learnt. Received: leak={leak!r}, learn_leak={learn_leak}"
        )


def _check_truncation(truncation: int | None, time: int) -> None:
    if truncation is None:
        return
    check_integer(truncation=truncation)
    if truncation > time:
        raise ValueError(
            f"Argument `truncation` must be at most the {time} time steps. "
            f"Received: truncation={truncation}"
        )


def _time(input_shape: tuple[int, ...], timesteps: int | None) -> int:
    """Return how long a network runs."""
    if None in input_shape or not input_shape:
        raise ValueError(
            "Argument `input_shape` must be fixed. "
            f"Received: input_shape={input_shape}"
        )
    if len(input_shape) == 2:
        if timesteps is not None:
            raise ValueError(
                "Argument `timesteps` is for inputs without a time, and these "
                f"have {input_shape[0]} steps. Received: timesteps={timesteps}"
            )
        return input_shape[0]
    if timesteps is None:
        raise ValueError(
            "Argument `timesteps` must say how long inputs of shape "
            f"{input_shape} run, such as 16. Received: timesteps=None"
        )
    check_integer(timesteps=timesteps)
    if timesteps > _MOST_STEPS:
        raise ValueError(
            f"Argument `timesteps` must be at most {_MOST_STEPS}. Received: "
            f"timesteps={timesteps}"
        )
    return timesteps
