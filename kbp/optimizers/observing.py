"""Figures of the gradients that a training itself takes."""

from collections.abc import Mapping, Sequence

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.execution import Execution, State

FIGURES = ("gradient_norm", "zeros", "not_finite", "weight_norm")


def gradient_figures(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the `FIGURES` of one variable.

    Args:
        gradient: tensor of the weight's shape.
        weight: tensor.

    Returns:
        Tensor `(4,)` of float32: the gradient's L2 norm, which is not a number
        if one of its values is not finite, the shares of values that are 0 and
        that are not finite, and the weight's L2 norm.
    """
    finite = ops.isfinite(gradient)
    found = [
        ops.where(ops.all(finite), norm(gradient), float("nan")),
        ops.mean(ops.cast(ops.equal(gradient, 0), "float32")),
        ops.mean(ops.cast(ops.logical_not(finite), "float32")),
        norm(weight),
    ]
    return ops.stack([ops.cast(x, "float32") for x in found])  # (4,)


def norm(values: Tensor) -> Tensor:
    """Return the L2 norm, also where the squares are too small or too large.

    The gradient of a layer that hardly learns is 1e-25 and less, whose squares
    are 0 in float32.
    """
    largest = ops.max(ops.abs(values))
    scale = ops.where(ops.equal(largest, 0), ops.ones_like(largest), largest)
    return largest * ops.sqrt(ops.sum(ops.square(values / scale)))


class Observation:
    """Measures the gradients of every so many steps, after they are summed.

    That is before they are clipped or accumulated, and before the weights move.
    The figures change nothing that a step computes, and no saved file has them.

    Args:
        every: number of steps from one that is measured to the next.
        optimizer: that is built.
        weights: its variables.
        execution: that runs its steps.

    Attributes:
        figures: variable `(len(weights), 4)` of the last step measured.
    """

    def __init__(
        self,
        every: int,
        optimizer: keras.optimizers.Optimizer,
        weights: Sequence[keras.Variable],
        execution: Execution,
    ):
        self.every = every
        shape = (len(weights), len(FIGURES))
        self.figures = execution.add_variable(
            optimizer, weights[0], shape, "gradient_figures"
        )

    def look(self, gradients: Mapping[int, Tensor], state: State) -> None:
        """Measure a step if it is due, on one replica's variables.

        Args:
            gradients: summed, by the index of their variables.
            state: the replica's.
        """
        (figures,) = state["figures"]

        def measured() -> Tensor:
            found = []
            for i, weight in enumerate(state["weights"]):
                value = ops.convert_to_tensor(weight)
                gradient = gradients.get(i, ops.zeros_like(value))
                found.append(gradient_figures(gradient, value))
            return ops.cast(ops.stack(found), figures.dtype)

        before = ops.convert_to_tensor(figures)
        due = ops.equal(state["iterations"] % self.every, 0)
        figures.assign(ops.cond(due, measured, lambda: before))
