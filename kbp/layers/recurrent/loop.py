"""The loop of a recurrent layer, as a function of tensors."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kbp._compat import drawn_dropout, with_dropout
from kbp._utils.types import Tensor

# The states of a cell, flat, and its last output.
Carry = list[Tensor]
Step = Callable[[Tensor, Carry], tuple[Tensor, Carry]]


@dataclass(frozen=True)
class _Cell:
    """What Keras's loop asks of a cell."""

    call: Step
    state_size: int = 1  # of which only `RNN.call` makes use

    def __call__(self, inputs: Tensor, states: Carry) -> tuple[Tensor, Carry]:
        return self.call(inputs, [*states])


class Loop:
    """A layer's loop over time, whose weights and dropout are tensors.

    What it computes may be computed again when gradients are, with the same
    weights and the same dropout.

    Args:
        layer: of Keras's, with a `cell`.
        inputs: `(batch, time, features)`, in the order of the steps.
        mask: booleans `(batch, time)` or `None`.
        states: of the cell before the first step.
        training: whether the cell drops.

    Attributes:
        inputs: the layer's, with the mask as another feature if there is one.
        carry: the states, flat, and an output of zeros.
        weights: that are trained.
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        inputs: Tensor,
        mask: Tensor | None,
        states: list[Any],
        training: bool,
    ):
        self.layer, self.structure = layer, states
        self.masked = mask is not None
        self.inputs = inputs if mask is None else with_feature(inputs, mask)
        shape = layer.compute_output_shape(inputs.shape)
        size = (shape[0] if layer.return_state else shape)[-1]
        first = keras.tree.flatten(states)
        zeros = ops.zeros((ops.shape(inputs)[0], size), first[0].dtype)
        self.carry: Carry = [*first, zeros]
        self.dropout = drawn_dropout(layer, inputs[:, 0], states)
        takes = inspect.signature(layer.cell.call).parameters
        self.options = {"training": training} if "training" in takes else {}
        values = [
            (v, ops.copy(v)) for v in getattr(layer.cell, "variables", ())
        ]
        self.learned = [v for v, _ in values if v.trainable]
        self.fixed = [(v, x) for v, x in values if not v.trainable]
        self.weights = [x for v, x in values if v.trainable]

    def step(self, inputs: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Take a step of the cell, or none where the mask says so."""
        features = inputs[..., :-1] if self.masked else inputs
        states = keras.tree.pack_sequence_as(self.structure, carry[:-1])
        output, after = self.layer.cell(features, states, **self.options)
        new = [*keras.tree.flatten(after), output]
        if self.masked:
            if self.layer.zero_output_for_mask:
                carry = [*carry[:-1], ops.zeros_like(output)]
            seen = inputs[..., -1:] > 0
            new = [
                ops.where(seen, *pair) for pair in zip(new, carry, strict=True)
            ]
        return new[-1], new

    def run(
        self,
        inputs: Tensor,
        carry: Carry,
        weights: Sequence[Tensor],
        *,
        step: Step | None = None,
        keep: bool = True,
        copies: int = 1,
    ) -> tuple[Tensor, Carry]:
        """Go through a part of the sequence.

        Args:
            inputs: `(batch, time, features)`.
            carry: before it.
            weights: of the cell.
            step: by default the cell's.
            keep: whether all outputs are wanted.
            copies: of the batch that the inputs are.

        Returns:
            Outputs `(batch, time, ...)`, the last one alone if they are not
            kept; and the carry after them.
        """
        own = zip(self.learned, weights, strict=True)
        loop = keras.layers.RNN(
            _Cell(step or self.step), return_sequences=keep, name="loop"
        )
        with (
            keras.StatelessScope([*self.fixed, *own]),
            with_dropout(self.dropout, copies),
        ):
            _, outputs, after = loop.inner_loop(inputs, carry, None)
        return outputs, [*after]


def with_feature(inputs: Tensor, feature: Tensor) -> Tensor:
    """Append a feature `(batch, time)` to `(batch, time, features)`."""
    last = ops.cast(feature, inputs.dtype)[..., None]
    return ops.concatenate([inputs, last], axis=-1)


def scaled(x: Tensor, factor: Tensor | float) -> Tensor:
    """Return `x` itself, whose gradient is multiplied by a factor."""
    fixed = ops.stop_gradient(x)
    return fixed + ops.cast(factor, x.dtype) * (x - fixed)


def stopped(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors that pass no gradient."""
    return [ops.stop_gradient(x) for x in tensors]
