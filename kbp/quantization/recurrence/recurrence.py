"""The steps of a recurrent layer, in eight bits."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp._utils.types import Shape, Tensor
from kbp.graph.keras_traits import FIXED_RANGES
from kbp.quantization.bias import round_to_grid
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.recurrence.cells import CELLS


@graph.register_layer_traits(
    graph.LayerTraits(
        rounding="computed",
        rounds_inputs=True,
        channels="keep",
        by_configuration=lambda layer: {
            "fixed_range": CELLS[layer.cell].state_range
        },
    )
)
@keras.saving.register_keras_serializable(package="kbp")
class Recurrence(keras.layers.Layer):
    """What a recurrent layer computes step by step, behind its input kernel.

    An LSTM is a Dense layer of all steps at once, and this: the products of
    its states, its gates, its sums. Each tensor of a step has one range, that
    of all steps together, so a .tflite file holds the step once, as a loop.
    The states go from step to step in floats that eight bits hold.

    Args:
        cell: name of a kind of cell, as of Keras's class.
        units: size of a state.
        use_bias: whether the product of the state has a bias of its own.
        return_sequences: whether to return the result of each step.
        go_backwards: whether the last step of the inputs is taken first.
        keep_order: whether results of backward steps stand where their inputs
            do, else the one computed first is first.
        recurrent_regularizer: of the kernel that reads the state.
        recurrent_constraint: the same.
        rounds: whether it rounds; else it computes in float, with the same
            variables.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, time, gates * units)`.
        training: bool, whether ranges follow the tensors.

    Returns:
        Tensor `(batch, units)`, or `(batch, time, units)`.

    Raises:
        ValueError: the inputs are of another size.

    Example:
    >>> import keras, kbp
    >>> layer = kbp.quantization.Recurrence("LSTMCell", 3)
    >>> layer(keras.ops.ones((2, 5, 12))).shape
    TensorShape([2, 3])
    """

    def __init__(
        self,
        cell: str,
        units: int,
        *,
        use_bias: bool = False,
        return_sequences: bool = False,
        go_backwards: bool = False,
        keep_order: bool = False,
        recurrent_regularizer: Any = None,
        recurrent_constraint: Any = None,
        rounds: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer(units=units)
        kind = CELLS[cell]
        self.cell, self.units = cell, units
        self.use_bias = use_bias
        self.return_sequences = return_sequences
        self.go_backwards, self.keep_order = go_backwards, keep_order
        self.recurrent_regularizer = keras.regularizers.get(
            recurrent_regularizer
        )
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.rounds = rounds
        # A value that is off by one step goes on to all later steps. `None` in
        # a file, whose operations round by themselves.
        self.arithmetic: str | None = "nearest"
        self.measured = ("recurrent", *kind.ranges)
        fixed = {"state": kind.state_range}
        fixed |= {name: FIXED_RANGES[name] for name in ("sigmoid", "tanh")}
        self.kernel_quantizer = self._rounder("kernel", "kernel")
        self.quantizers = {
            name: self._rounder(name, "tensor")
            for name in ("inputs", *self.measured)
        } | {
            name: self._rounder(name, "fixed", minimum=low, maximum=high)
            for name, (low, high) in fixed.items()
        }

    def _rounder(self, name: str, kind: str, **options: Any) -> FakeQuantize:
        made = FakeQuantize(kind, name=f"{self.name}_{name}", **options)
        made.passing = not self.rounds
        return made

    @property
    def rounders(self) -> list[FakeQuantize]:
        """What rounds its kernel, and what rounds its activations."""
        return [self.kernel_quantizer, *self.quantizers.values()]

    def build(self, input_shape: Shape) -> None:
        width = CELLS[self.cell].gates * self.units
        if input_shape[-1] != width:
            raise ValueError(
                f"Layer {self.name} of {self.units} units reads {width} "
                f"features. Received input shape: {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.units, width),
            initializer="orthogonal",
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(width,))
        for rounder in self.rounders:
            rounder.build((self.units, width))
            rounder.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        training = bool(training)
        self.kernel_quantizer(self.kernel, training=training)  # its range
        x = self.quantizers["inputs"](
            inputs, training=training, arithmetic=self.arithmetic
        )
        x = ops.cast(x, "float32")
        steps = x.shape[1] or tf.shape(x)[1]
        state = tf.zeros((tf.shape(x)[0], self.units))
        states = (state,) * CELLS[self.cell].states
        array = tf.TensorArray("float32", steps, element_shape=state.shape)
        results = (array,) if self.return_sequences else ()
        follows = training or self.kernel_quantizer.observing
        none = tf.zeros(len(self.measured))
        ends = (none, none) if follows else ()
        x = tf.TensorArray(
            "float32", steps, element_shape=(x.shape[0], x.shape[2])
        ).unstack(ops.transpose(x, (1, 0, 2)))

        def body(step: Tensor, states: Any, ends: Any, results: Any) -> Any:
            place = steps - 1 - step if self.go_backwards else step
            seen: dict[str, Tensor] = {}
            states = self.step(x.read(place), states, seen)
            to = place if self.keep_order else step
            return (
                step + 1,
                states,
                self._widened(ends, seen) if follows else ends,
                tuple(result.write(to, states[0]) for result in results),
            )

        _, states, ends, results = tf.while_loop(
            lambda step, *_: step < steps,
            body,
            (0, states, ends, results),
            maximum_iterations=steps if training else None,  # XLA asks for it
        )
        if follows:  # here, because replicas do not agree inside a loop
            for i, name in enumerate(self.measured):
                both = ops.stack([end[i] for end in ends])
                self.quantizers[name](both, training=training)
        outputs = states[0]
        if results:
            outputs = ops.transpose(results[0].stack(), (1, 0, 2))
        return ops.cast(outputs, self.compute_dtype)

    def step(
        self,
        inputs: Tensor,
        states: tuple[Tensor, ...],
        seen: dict[str, Tensor],
    ) -> tuple[Tensor, ...]:
        """Compute the next states.

        Args:
            inputs: tensor `(batch, gates * units)`.
            states: tensors `(batch, units)`.
            seen: takes each tensor as it was before it was rounded, by name.
        """

        def rounded(name: str, x: Tensor) -> Tensor:
            seen[name] = x
            return self.quantizers[name](
                x, update_range=False, arithmetic=self.arithmetic
            )

        # What is rounded already changes no more; it tells the converter.
        inputs = rounded("inputs", inputs)
        names = ("state", "memory")[: len(states)]
        states = tuple(map(rounded, names, states))
        kernel = self.kernel_quantizer(self.kernel, update_range=False)
        recurrent = ops.matmul(states[0], ops.cast(kernel, "float32"))
        if self.bias is not None:
            scale = self.quantizers["state"].scale()
            recurrent += ops.cast(
                round_to_grid(self.bias, scale * self.kernel_quantizer.scale()),
                "float32",
            )
        recurrent = rounded("recurrent", recurrent)
        return CELLS[self.cell].step(rounded, inputs, recurrent, states)

    def _widened(self, ends: Any, seen: dict[str, Tensor]) -> Any:
        """Return ranges that hold the values of a step, too."""
        low, high = (
            ops.stack([find(seen[name]) for name in self.measured])
            for find in (ops.min, ops.max)
        )
        return ops.minimum(ends[0], low), ops.maximum(ends[1], high)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, steps, _ = input_shape
        if self.return_sequences:
            return batch, steps, self.units
        return batch, self.units

    def get_config(self) -> dict[str, Any]:
        names = (
            *("cell", "units", "use_bias", "return_sequences"),
            *("go_backwards", "keep_order", "rounds"),
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "recurrent_regularizer": keras.regularizers.serialize(
                self.recurrent_regularizer
            ),
            "recurrent_constraint": keras.constraints.serialize(
                self.recurrent_constraint
            ),
        }
