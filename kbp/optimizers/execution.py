"""How a backend runs the optimizer's step; by default, as it is written."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import keras
from keras import ops

from kbp._utils.types import Tensor


class State(TypedDict):
    """The variables of one replica that a step changes.

    Attributes:
        weights: the trainable variables.
        moments: for each group the variables of its moments.
        counts: variables that count updates and skipped steps.
        iterations: the optimizer's variable of that name.
        sums: variables of accumulated gradients, or none.
        averages: variables of averaged weights, or none.
        figures: the variable of an `Observation`, or none.
    """

    weights: Sequence[keras.Variable]
    moments: Sequence[Sequence[keras.Variable]]
    counts: dict[str, keras.Variable]
    iterations: keras.Variable
    sums: Sequence[keras.Variable]
    averages: Sequence[keras.Variable | None]
    figures: Sequence[keras.Variable]


class Execution:
    """Runs a step as it is written; for JAX and PyTorch.

    Attributes:
        fuses: whether small variables are gathered in groups whose update is
            compiled as one.
        reason: the reason for that, for `HybridOptimizer.describe`.
    """

    fuses = False
    reason = "the backend compiles the whole training step"

    def dense(self, gradient: Tensor) -> Tensor:
        """Return a gradient as one tensor."""
        return gradient

    def squared_norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the sum of squares; it is not finite if an entry is not."""
        return sum(ops.sum(ops.square(x)) for x in tensors)

    def add_variable(
        self,
        optimizer: keras.optimizers.Optimizer,
        like: keras.Variable,
        shape: tuple[int, ...],
        name: str,
    ) -> keras.Variable:
        """Create a variable of zeros with the devices and type of `like`."""
        return optimizer.add_variable(shape, dtype=like.dtype, name=name)

    def run(
        self,
        step: Callable[..., None],
        gradients: dict[int, Tensor],
        learning_rate: Tensor,
        state: State,
    ) -> None:
        """Call `step(gradients, learning_rate, state)`."""
        step(gradients, learning_rate, state)

    def change_if(
        self,
        condition: Tensor,
        change: Callable[[], None],
        variables: Sequence[keras.Variable],
    ) -> None:
        """Call `change`, which assigns to these variables, under a condition.

        Args:
            condition: a bool.
            change: a function without arguments.
            variables: that it changes.
        """

        def same() -> list[Tensor]:
            return [ops.convert_to_tensor(v) for v in variables]

        def changed() -> list[Tensor]:
            now = [*zip(variables, same(), strict=True)]
            with keras.StatelessScope(now) as scope:
                change()
            return [scope.get_current_value(v) for v in variables]

        found = ops.cond(condition, changed, same)
        for variable, value in zip(variables, found, strict=True):
            variable.assign(value)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with the same results, which may be compiled."""
        return function

    def check(self, skipped_in_a_row: Tensor, limit: int) -> None:
        """Raise an error at `limit` skipped steps in a row, if possible."""


def create() -> Execution:
    """Return the execution for the Keras backend."""
    if keras.backend.backend() == "tensorflow":
        from kbp.optimizers.tensorflow_execution import TensorFlowExecution

        return TensorFlowExecution()
    return Execution()
