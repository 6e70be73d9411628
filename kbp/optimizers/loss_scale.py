"""Dynamic loss scaling that N replicas do as one device does."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.summing import SummingOptimizer, has_own_state

HALVINGS = 25  # in a row, until the loss scale is at fault no more


@keras.saving.register_keras_serializable(package="kbp")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's dynamic loss scaling, by the sum of all replicas' gradients.

    The loss is multiplied by a scale before gradients are taken, so that small
    ones are not 0 in float16. A step whose gradients overflow is skipped and
    halves the scale; 2000 finite ones in a row double it. Keras looks at the
    first replica's gradients alone, and leaves a skipped step out of the count
    that learning rate schedules follow (keras 3.15); here the inner optimizer
    decides and counts, after the sum.

    Args:
        inner_optimizer: a `HybridOptimizer` or `SynchronizedOptimizer`.
        initial_scale: the scale at the start.
        dynamic_growth_steps: how many finite steps double it.
        name: of the optimizer.

    Raises:
        ValueError: the inner optimizer is another one.

    Example:
    >>> import keras, kbp
    >>> w = keras.Variable([1.0])
    >>> optimizer = kbp.optimizers.LossScale(kbp.HybridOptimizer(0.1))
    >>> optimizer.apply([keras.ops.array([float("inf")])], [w])
    >>> float(w[0]), optimizer.skipped_steps, float(optimizer.dynamic_scale)
    (1.0, 1, 16384.0)

    Reference:
        Micikevicius et al., Mixed Precision Training, 2018.
    """

    inner_optimizer: SummingOptimizer

    def __init__(
        self,
        inner_optimizer: SummingOptimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str = "loss_scale",
        **kwargs: Any,
    ):
        if not isinstance(inner_optimizer, SummingOptimizer):
            raise ValueError(
                "Argument `inner_optimizer` must be a HybridOptimizer or a "
                f"SynchronizedOptimizer. Received: {inner_optimizer}"
            )
        super().__init__(
            inner_optimizer, initial_scale, dynamic_growth_steps, name, **kwargs
        )
        inner_optimizer.expected_skips = HALVINGS

    def add_variable(self, *args: Any, **kwargs: Any) -> keras.Variable:
        # Every replica finds the same values, and may assign them.
        kwargs["aggregation"] = "only_first_replica"
        return super().add_variable(*args, **kwargs)

    def build(self, var_list: Sequence[keras.Variable]) -> None:
        # Keras would leave variables of the inner one out (keras 3.15, Nadam).
        self.inner_optimizer.build(var_list)
        super().build(var_list)

    def apply(
        self,
        grads: Sequence[Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        inner = self.inner_optimizer
        if not self.built:
            self.build(list(trainable_variables or ()))
        scale = ops.convert_to_tensor(self.dynamic_scale)
        grads = [None if g is None else ops.divide(g, scale) for g in grads]
        inner.apply(grads, trainable_variables)
        finite = ops.equal(inner._step.counts["skipped_in_a_row"], 0)
        steps = ops.convert_to_tensor(self.step_counter) + 1
        grows = ops.logical_and(finite, steps == self.dynamic_growth_steps)
        counts = ops.logical_and(finite, ops.logical_not(grows))
        self.step_counter.assign(ops.where(counts, steps, 0))
        factor = ops.where(grows, 2.0, ops.where(finite, 1.0, 0.5))
        self.dynamic_scale.assign(scale * factor)

    @property
    def seen_steps(self) -> Any:
        """The number of steps as `fit` counts them, with those skipped."""
        return self.inner_optimizer.seen_steps

    @property
    def schedule(self) -> Any:
        """The learning rate's schedule, or the variable that holds it."""
        return self.inner_optimizer.schedule

    @property
    def skipped_steps(self) -> int:
        """The number of steps whose gradients overflowed."""
        return self.inner_optimizer.skipped_steps

    @property
    def skipped_in_a_row(self) -> int:
        """The number of steps that were skipped since the last update."""
        return self.inner_optimizer.skipped_in_a_row

    def observe_gradients(self, every: int) -> bool:
        """Measure gradients without the scale, see `SummingOptimizer`."""
        return self.inner_optimizer.observe_gradients(every)

    def observed_gradients(
        self,
    ) -> list[tuple[keras.Variable, dict[str, float]]]:
        """Return what was measured, see `SummingOptimizer`."""
        return self.inner_optimizer.observed_gradients()

    def save_own_variables(self, store: Any) -> None:
        # Keras saves the inner optimizer beside this one.
        if self.built:
            store["dynamic_scale"] = self.dynamic_scale.numpy()
            store["step_counter"] = self.step_counter.numpy()

    def load_own_variables(self, store: Any) -> None:
        if has_own_state(self, store):
            self.dynamic_scale.assign(store["dynamic_scale"])
            self.step_counter.assign(store["step_counter"])
