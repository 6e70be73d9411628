"""Gated recurrent units, of Cho et al., 2014."""

from typing import Any

from keras import layers, ops

from kbp._utils.types import Tensor
from kbp.quantization.recurrence.cells import (
    CELLS,
    Cell,
    Round,
    sigmoid,
    tanh,
)


def step(
    rounded: Round,
    inputs: Tensor,
    recurrent: Tensor,
    states: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Move the state a part of the way to a new one."""
    (state,) = states
    gates = 2 * state.shape[-1]
    sums = rounded("gates", inputs[..., :gates] + recurrent[..., :gates])
    keep, reset = ops.split(sigmoid(rounded, sums), 2, axis=-1)
    old = rounded("old", reset * recurrent[..., gates:])
    new = tanh(rounded, rounded("candidate", inputs[..., gates:] + old))
    kept = rounded("kept", keep * state)
    # Of 256ths, what is left of one is a 256th again.
    taken = rounded("taken", rounded("sigmoid", 1.0 - keep) * new)
    return (rounded("state", kept + taken),)


def problem(cell: Any) -> str | None:
    """Ask for the product before the reset, which both gates share."""
    return None if cell.reset_after else "use reset_after=True"


CELLS.add(
    "GRUCell",
    Cell(
        kind=layers.GRUCell,
        step=step,
        gates=3,
        ranges=("gates", "old", "candidate", "kept", "taken"),
        problem=problem,
    ),
)
