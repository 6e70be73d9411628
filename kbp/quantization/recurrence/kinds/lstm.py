"""Long short-term memory, of Hochreiter and Schmidhuber, 1997."""

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
    """Forget a part of the memory, add to it, and show a part of it."""
    _, memory = states
    sums = ops.split(rounded("gates", inputs + recurrent), 4, axis=-1)
    take, keep, show = (sigmoid(rounded, sums[i]) for i in (0, 1, 3))
    kept = rounded("kept", keep * memory)
    taken = rounded("taken", take * tanh(rounded, sums[2]))
    memory = rounded("memory", kept + taken)
    return rounded("state", show * tanh(rounded, memory)), memory


CELLS.add(
    "LSTMCell",
    Cell(
        kind=layers.LSTMCell,
        step=step,
        gates=4,
        ranges=("gates", "kept", "taken", "memory"),
        states=2,
    ),
)
