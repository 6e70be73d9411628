"""Neurons that integrate their input and fire."""

import math
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import (
    check_integer,
    check_number,
    check_one_of,
    check_positive,
)
from kbp._utils.types import Shape, Tensor
from kbp.layers import TruncatedRNN
from kbp.spiking.clip_floor_shift import LEAST
from kbp.spiking.surrogates import check_surrogate, spike


@keras.saving.register_keras_serializable(package="kbp")
class IntegrateAndFireCell(keras.layers.Layer):
    """One time step of neurons that integrate their input and fire.

        v = leak v + x                    the potential takes the input
        s = 1 if v >= threshold else 0    it fires
        v = v - threshold s               soft reset, or v (1 - s), a hard one
        y = height s

    Backward, `kbp.spiking.spike` of `v / threshold - 1` stands for the step.

    Args:
        units: how many neurons.
        threshold: positive.
        leak: what stays of the potential from step to step, more than 0 and
            less than 1; `None` for all of it.
        reset: `"soft"` takes the threshold away, `"hard"` goes to 0.
        initial: potential before the first step, as a share of the threshold.
        height: of a spike: `"one"`, or `"threshold"`.
        surrogate: derivative of a spike, see `kbp.spiking.spike`.
        slope: of the surrogate.
        learn_threshold: whether the threshold is trained, at 1e-3 or above.
        learn_leak: whether the leak is trained, as the sigmoid of a weight.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, features)`, currents.
        states: the potentials `(batch, features)`, in a list.

    Returns:
        Tensor `(batch, features)`, and the new states.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Fang et al., Incorporating Learnable Membrane Time Constant to Enhance
        Learning of Spiking Neural Networks, ICCV 2021.

    Example:
    >>> import kbp, keras
    >>> cell = kbp.spiking.IntegrateAndFireCell(1)
    >>> spikes = keras.layers.RNN(cell, return_sequences=True)
    >>> spikes(keras.ops.full((1, 5, 1), 0.5))[0, :, 0].numpy()
    array([0., 1., 0., 1., 0.], dtype=float32)
    """

    def __init__(
        self,
        units: int,
        threshold: float = 1.0,
        *,
        leak: float | None = None,
        reset: str = "soft",
        initial: float = 0.0,
        height: str = "one",
        surrogate: str = "arctan",
        slope: float = 2.0,
        learn_threshold: bool = False,
        learn_leak: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_integer(units=units)
        check_number(threshold=threshold, initial=initial)
        check_one_of(("soft", "hard"), reset=reset)
        check_one_of(("one", "threshold"), height=height)
        check_surrogate(surrogate, slope)
        check_positive(threshold=threshold)
        if leak is not None:
            check_number(leak=leak)
        if leak is not None and not 0 < leak < 1:
            raise ValueError(
                "Argument `leak` must be more than 0 and less than 1, or None. "
                f"Received: leak={leak!r}"
            )
        if not 0 <= initial < 1:
            raise ValueError(
                "Argument `initial` must be 0 or more and less than 1. "
                f"Received: initial={initial!r}"
            )
        if learn_leak and leak is None:
            raise ValueError(
                "Argument `learn_leak` needs a `leak` to begin with. "
                "Received: leak=None"
            )
        self.units = self.state_size = self.output_size = int(units)
        self.threshold, self.leak = float(threshold), leak
        self.reset, self.initial, self.height = reset, float(initial), height
        self.surrogate, self.slope = surrogate, float(slope)
        self.learn_threshold, self.learn_leak = learn_threshold, learn_leak

    def build(self, input_shape: Shape) -> None:
        self.level = self.add_weight(
            name="threshold",
            shape=(),
            initializer=keras.initializers.Constant(self.threshold),
            trainable=self.learn_threshold,
        )
        self.leak_logit = None
        if self.learn_leak and self.leak is not None:
            self.leak_logit = self.add_weight(
                name="leak_logit",
                shape=(),
                initializer=keras.initializers.Constant(
                    math.log(self.leak / (1 - self.leak))
                ),
            )

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Return the potentials before the first step."""
        state = ops.zeros((batch_size, self.state_size), self.compute_dtype)
        return [state + self.initial * self._threshold()]

    def call(
        self, inputs: Tensor, states: Any, training: Any = None
    ) -> tuple[Tensor, list[Tensor]]:
        potential, threshold = keras.tree.flatten(states)[0], self._threshold()
        if self.leak_logit is not None:
            potential = potential * ops.sigmoid(
                ops.cast(self.leak_logit, potential.dtype)
            )
        elif self.leak is not None:
            potential = potential * self.leak
        potential = potential + inputs
        fired = spike(potential / threshold - 1, self.surrogate, self.slope)
        if self.reset == "soft":
            potential = potential - threshold * fired
        else:
            potential = potential * (1 - fired)
        outputs = fired if self.height == "one" else threshold * fired
        return outputs, [potential]

    def _threshold(self) -> Tensor:
        least = LEAST if self.learn_threshold else 0.0
        return ops.maximum(ops.cast(self.level, self.compute_dtype), least)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = (
            *("units", "threshold", "leak", "reset", "initial", "height"),
            *("surrogate", "slope", "learn_threshold", "learn_leak"),
        )
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


@keras.saving.register_keras_serializable(package="kbp")
class IntegrateAndFire(keras.layers.Layer):
    """Neurons that integrate currents over time and fire.

    Each feature is a neuron, an `IntegrateAndFireCell`, whatever the features'
    axes; all have one threshold.

    Args:
        threshold: positive.
        truncation: time steps that gradients go back, as of
            `kbp.layers.TruncatedRNN`; all by default.
        **kwargs: other arguments of `IntegrateAndFireCell`, and of Keras's
            layers.

    Call arguments:
        inputs: tensor `(batch, time, ...)` of a fixed shape, currents.

    Returns:
        Tensor of the same shape, spikes.

    Raises:
        ValueError: an argument is out of range, or a shape is not fixed.

    Example:
    >>> import kbp, keras
    >>> neurons = kbp.spiking.IntegrateAndFire(leak=0.9)
    >>> neurons(keras.ops.ones((2, 10, 8, 8, 3))).shape
    TensorShape([2, 10, 8, 8, 3])
    """

    def __init__(
        self,
        threshold: float = 1.0,
        *,
        truncation: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **kwargs: Any,
    ):
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        if truncation is not None:
            check_integer(truncation=truncation)
        self.threshold, self.truncation = threshold, truncation
        self.options = kwargs
        self._cell(1)  # which checks them

    def _cell(self, units: int) -> IntegrateAndFireCell:
        return IntegrateAndFireCell(
            units,
            self.threshold,
            name="cell",
            dtype=self.dtype_policy,
            **self.options,
        )

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 3 or None in input_shape[1:]:
            raise ValueError(
                f"Layer {self.name} must be given (batch, time, features, "
                "...) of a fixed shape. Received: shape "
                f"{tuple(input_shape)}"
            )
        features = math.prod(filter(None, input_shape[2:]))
        self.cell = self._cell(features)
        self.loop = keras.layers.RNN(
            self.cell, return_sequences=True, dtype=self.dtype_policy
        )
        if self.truncation is not None:
            self.loop = TruncatedRNN(self.loop, self.truncation)
        self.loop.build((input_shape[0], input_shape[1], features))

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        shape = inputs.shape[1:]
        flat = ops.reshape(inputs, (-1, shape[0], math.prod(shape[1:])))
        return ops.reshape(self.loop(flat, training=training), (-1, *shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"threshold": self.threshold, "truncation": self.truncation}
        return {**super().get_config(), **own, **self.options}
