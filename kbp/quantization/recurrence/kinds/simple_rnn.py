"""Units that read their own results."""

from keras import layers, ops

from kbp._utils.types import Tensor
from kbp.graph.keras_traits import FIXED_RANGES
from kbp.quantization.recurrence.cells import CELLS, Cell, Round


def step(
    rounded: Round,
    inputs: Tensor,
    recurrent: Tensor,
    states: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Compute the state from the inputs and the last one."""
    sums = rounded("gates", inputs + recurrent)
    return (rounded("state", ops.tanh(sums)),)


CELLS.add(
    "SimpleRNNCell",
    Cell(
        kind=layers.SimpleRNNCell,
        step=step,
        gates=1,
        ranges=("gates",),
        state_range=FIXED_RANGES["tanh"],  # LiteRT's, of its TANH
    ),
)
