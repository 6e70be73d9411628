"""What one step of a recurrent layer computes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from kbp._utils.registry import Registry
from kbp._utils.types import Tensor

# Rounds a tensor to the range of its name.
Round = Callable[[str, Tensor], Tensor]
Step = Callable[[Round, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A kind of recurrent cell.

    Attributes:
        kind: Keras's class of it.
        step: `step(rounded, inputs, recurrent, states) -> states`: what the
            gates are given by the inputs and by the first state, both
            `(batch, gates * units)`, and the states, `(batch, units)` each.
            The first state is the result. Each name is rounded once; names are
            those of `ranges`, of `FIXED`, and `"state"` for the result.
        gates: how many values of a step each unit has.
        ranges: names of tensors whose ranges are measured. A state but the
            first has the range `"memory"`.
        states: how many there are.
        state_range: of the result, whatever the data are.
        problem: from a Keras cell to what a person has to change about it.
    """

    kind: type
    step: Step
    gates: int
    ranges: tuple[str, ...]
    states: int = 1
    # As 255 steps, not the 256 of a hyperbolic tangent: there, products of
    # integers would lie halfway between two steps, where kernels differ.
    state_range: tuple[float, float] = (-1.0, 1.0)
    problem: Callable[[Any], str | None] = lambda cell: None


CELLS: Registry[Cell] = Registry(
    "quantization.cell", "kbp.quantization.recurrence.kinds"
)


def cell_of(layer: layers.RNN) -> Cell | None:
    """Return the kind of a layer's cell, `None` if it has no 8-bit step.

    Args:
        layer: of Keras's, or of a class of one's own that is an RNN.
    """
    name = type(layer.cell).__name__
    if name not in CELLS or CELLS[name].kind is not type(layer.cell):
        return None
    return CELLS[name]


def sigmoid(rounded: Round, x: Tensor) -> Tensor:
    """Return a rounded logistic function."""
    return rounded("sigmoid", ops.sigmoid(x))


def tanh(rounded: Round, x: Tensor) -> Tensor:
    """Return a rounded hyperbolic tangent."""
    return rounded("tanh", ops.tanh(x))
