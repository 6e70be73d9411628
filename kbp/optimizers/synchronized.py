"""Any of Keras's optimizers, whose steps follow the sum of the replicas."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.execution import State
from kbp.optimizers.groups import Group, Route
from kbp.optimizers.step import Step
from kbp.optimizers.summing import SummingOptimizer

_OTHERS = ("LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW")


@keras.saving.register_keras_serializable(package="kbp")
class SynchronizedOptimizer(SummingOptimizer):
    """Let a Keras optimizer clip, accumulate and average like one device.

    Under tf.distribute Keras's own optimizers clip each replica's gradients
    before they are summed, and cannot accumulate (keras issue 20582). Here the
    rule of an optimizer is taken, and everything around it is as in
    `HybridOptimizer`: N replicas equal one, and a step whose gradients are not
    finite is skipped.

    Args:
        inner: a Keras optimizer, whose rule counts: its learning rate, weight
            decay, clipping, accumulation and averaging do not.
        learning_rate: float, schedule or callable.
        max_skipped_steps: number of skipped steps in a row that raises an
            error, see `HybridOptimizer`.
        average_from: see `HybridOptimizer`.
        name: of the optimizer.
        **kwargs: what every Keras optimizer takes: `weight_decay`,
            `clipnorm`, `gradient_accumulation_steps`, `use_ema`, ...

    Raises:
        ValueError: an argument is out of range, or `inner` is no optimizer of
            a single rule.

    Example:
    >>> import keras, kbp
    >>> w = keras.Variable([1.0])
    >>> optimizer = kbp.optimizers.SynchronizedOptimizer(
    ...     keras.optimizers.SGD(), 0.1, clipnorm=1.0
    ... )
    >>> optimizer.apply([keras.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    def __init__(
        self,
        inner: keras.optimizers.Optimizer | Mapping[str, Any],
        learning_rate: Any = 0.001,
        *,
        max_skipped_steps: int = 10,
        average_from: int | None = None,
        name: str = "synchronized",
        **kwargs: Any,
    ):
        if isinstance(inner, Mapping):
            inner = keras.saving.deserialize_keras_object(inner)
        if not isinstance(inner, keras.optimizers.Optimizer) or hasattr(
            inner, "inner_optimizer"
        ):
            raise ValueError(
                "Argument `inner` must be a Keras optimizer with a rule of its "
                f"own. Received: inner={inner}"
            )
        super().__init__(
            learning_rate,
            max_skipped_steps=max_skipped_steps,
            average_from=average_from,
            name=name,
            **kwargs,
        )
        self.kind = type(inner)
        self.inner = _without_replicas(self.kind).from_config(
            inner.get_config()
        )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        variables = list(variables)
        strategy = getattr(variables[0].value, "distribute_strategy", None)
        with strategy.scope() if strategy else contextlib.nullcontext():
            super().build(variables)
            self.inner.build(variables)
        routes = [Route(False, f"the rule of {self.kind.__name__}")]
        self._step = self.make_step(
            _InnerStep, variables, routes * len(variables)
        )

    @property
    def variables(self) -> list[keras.Variable]:
        return [*super().variables, *self.inner.variables]

    def get_config(self) -> dict[str, Any]:
        inner = self.kind.from_config(self.inner.get_config())
        return {
            **super().get_config(),
            "inner": keras.saving.serialize_keras_object(inner),
        }


def keras_optimizers() -> dict[str, type[keras.optimizers.Optimizer]]:
    """Return the classes of Keras's optimizers by their names.

    Not those that hold others; nor the one that is to be evaluated with other
    weights than it trains, which Keras (3.15) never puts into the model.

    Example:
    >>> from kbp.optimizers.synchronized import keras_optimizers
    >>> keras_optimizers()["adamw"].__name__
    'AdamW'
    """
    found: dict[str, type[keras.optimizers.Optimizer]] = {}
    base = keras.optimizers.Optimizer
    for name, kind in vars(keras.optimizers).items():
        if not isinstance(kind, type) or not issubclass(kind, base):
            continue
        if kind is base or name in _OTHERS:
            continue
        found[name.lower()] = kind
    return found


class _InnerStep(Step):
    """A step whose update is that of another optimizer."""

    optimizer: SynchronizedOptimizer

    def names_of_moments(self, group: Group) -> tuple[str, ...]:
        return ()

    def make_parts(self) -> list[Any]:
        return []

    def update(
        self,
        gradients: Mapping[int, Tensor],
        joined: list[Tensor],
        learning_rate: Tensor,
        accept: Tensor,
        state: State,
    ) -> None:
        self.execution.change_if(
            accept,
            lambda: self.move(gradients, learning_rate),
            [
                *(self.weights[i] for i in gradients),
                *self.optimizer.inner.variables,
            ],
        )

    def move(
        self, gradients: Mapping[int, Tensor], learning_rate: Tensor
    ) -> None:
        """Take a step by the other optimizer's rule, after the decay."""
        inner, decay = self.optimizer.inner, self.optimizer.weight_decay
        variables = [self.weights[i] for i in gradients]
        if decay:
            for i in gradients:
                if i not in self.undecayed:
                    weight = ops.convert_to_tensor(self.weights[i])
                    inner.assign_sub(
                        self.weights[i], learning_rate * decay * weight
                    )
        inner._backend_update_step(
            [*gradients.values()], variables, learning_rate
        )
        inner.assign_add(inner._iterations, 1)


class _Plain(keras.optimizers.Optimizer):
    """Updates one variable after the other, with no look at replicas."""

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Tensor
    ) -> None:
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable, learning_rate)


def _without_replicas(kind: type) -> type[Any]:
    """Return an optimizer's class on top of `_Plain`.

    What the class does once for all variables (Nadam's) stays before it.
    """
    return type(kind.__name__, (kind, _Plain), {})
