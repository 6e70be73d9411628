"""The optimizer's step on TensorFlow: summed over replicas, compiled by XLA."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kbp._utils.types import Tensor
from kbp.optimizers.execution import Execution, State


class TensorFlowExecution(Execution):
    """Sums gradients over replicas; compiles a group's update with XLA.

    Keras 3.15 clips, accumulates and averages each replica's own gradients
    before they are summed, so that N replicas differ from one. Here the whole
    step follows the sum, on each replica's copies of the variables, without a
    conditional around a merge call.
    """

    def __init__(self) -> None:
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, tf.distribute.TPUStrategy):
            self.fuses, self.reason = False, "XLA compiles a TPU's whole step"
        elif not _xla_works():
            self.fuses, self.reason = False, "XLA is not available here"
        else:
            self.fuses, self.reason = True, "compiled by XLA"

    def dense(self, gradient: Tensor) -> Tensor:
        return tf.convert_to_tensor(gradient)  # of IndexedSlices too

    def squared_norm(self, tensors: Sequence[Tensor]) -> Tensor:
        # One kernel for each tensor: the check costs a tenth of the step.
        halves = [tf.cast(tf.nn.l2_loss(x), tf.float32) for x in tensors]
        return 2.0 * tf.add_n(halves)

    def add_variable(
        self,
        optimizer: keras.optimizers.Optimizer,
        like: keras.Variable,
        shape: tuple[int, ...],
        name: str,
    ) -> keras.Variable:
        strategy = getattr(_backing(like), "distribute_strategy", None)
        with strategy.scope() if strategy else contextlib.nullcontext():
            return super().add_variable(optimizer, like, shape, name)

    def run(
        self,
        step: Callable[..., None],
        gradients: dict[int, Tensor],
        learning_rate: Tensor,
        state: State,
    ) -> None:
        state = tf.nest.map_structure(_backing, state)
        if not tf.distribute.has_strategy():
            step(gradients, learning_rate, state)
            return
        replica = tf.distribute.get_replica_context()
        if replica:
            gradients = replica.all_reduce(
                tf.distribute.ReduceOp.SUM, gradients
            )

        def merged(
            strategy: tf.distribute.Strategy,
            gradients: dict[int, Tensor],
            learning_rate: Tensor,
        ) -> None:
            # `update` hands each replica its own part of what it is given.
            strategy.extended.update(
                state["weights"][0],
                lambda _, *own: step(*own),
                args=(gradients, learning_rate, state),
                group=False,
            )

        tf.__internal__.distribute.interim.maybe_merge_call(
            merged, tf.distribute.get_strategy(), gradients, learning_rate
        )

    def change_if(
        self,
        condition: Tensor,
        change: Callable[[], None],
        variables: Sequence[keras.Variable],
    ) -> None:
        # Nothing is merged in here, so that a conditional is allowed.
        tf.cond(condition, change, lambda: None)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not self.fuses:
            return function
        return tf.function(function, jit_compile=True)

    def check(self, skipped_in_a_row: Tensor, limit: int) -> None:
        tf.debugging.assert_less(
            skipped_in_a_row,
            tf.cast(limit, skipped_in_a_row.dtype),
            f"The optimizer skipped {limit} steps in a row, whose gradients "
            "were not finite. Lower the learning rate, or look for what makes "
            "the loss infinite or not a number.",
        )


def _backing(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


@functools.cache
def _xla_works() -> bool:
    try:
        tf.function(lambda x: x + x, jit_compile=True)(tf.constant(1.0))
    except (tf.errors.OpError, ValueError):
        return False
    return True
