"""A learning rate that falls when the validation loss no longer does."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.schedules.registry import register_schedule
from kbp.optimizers.schedules.warm_up import WarmUp


@keras.saving.register_keras_serializable(package="kbp")
class Plateau(WarmUp):
    """A learning rate that falls where a loss stays, by Keras's rule.

    The rule is that of `keras.callbacks.ReduceLROnPlateau`: after `patience`
    epochs whose loss was not less than the best one by `min_delta`, the rate is
    multiplied by `decay_rate`, and the next `cooldown` epochs do not count.
    Keras's callback needs an optimizer whose rate is a number, which no warm-up
    can be; and its state is in no checkpoint.

    Args:
        rate: the learning rate after the warm-up.
        warmup_steps: number of steps in which it rises from 0.
        decay_rate: factor of the rate, below 1.
        patience: epochs without a better loss.
        min_delta: how much less a better loss is.
        cooldown: epochs after a change that do not count.
        minimum_share: the least rate, as a share of `rate`.
        state: see `state`; empty at the start.

    Example:
    >>> import kbp
    >>> rate = kbp.optimizers.schedules.Plateau(1.0, 0, patience=1)
    >>> for loss in (3.0, 2.0, 2.0):
    ...     rate.observe(loss)
    >>> round(float(rate(100)), 6)
    0.1
    """

    def __init__(
        self,
        rate: float,
        warmup_steps: int,
        *,
        decay_rate: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        minimum_share: float = 0.0,
        state: dict[str, Any] | None = None,
    ):
        super().__init__(rate, rate, warmup_steps)
        self.options = {
            "decay_rate": decay_rate,
            "patience": patience,
            "min_delta": min_delta,
            "cooldown": cooldown,
            "minimum_share": minimum_share,
        }
        self.factor = keras.Variable(
            1.0,
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="factor",
        )
        self.best: float | None = None  # of all losses
        self.wait, self.rest = 0, 0
        if state:
            self.restore(state)

    def __call__(self, step: Tensor) -> Tensor:
        return super().__call__(step) * self.factor

    def observe(self, loss: float) -> None:
        """Take the loss of an epoch into account, at its end."""
        option = self.options
        if self.rest:
            self.rest, self.wait = self.rest - 1, 0
        if self.best is None or loss < self.best - option["min_delta"]:
            self.best, self.wait = loss, 0
            return
        factor = float(ops.convert_to_numpy(self.factor))
        if self.rest:
            return
        self.wait += 1
        if self.wait >= option["patience"] and factor > option["minimum_share"]:
            lower = max(factor * option["decay_rate"], option["minimum_share"])
            self.factor.assign(lower)
            self.rest, self.wait = int(option["cooldown"]), 0

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON has it."""
        return {
            "best": self.best,
            "wait": self.wait,
            "rest": self.rest,
            "factor": float(ops.convert_to_numpy(self.factor)),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.best = state["best"]
        self.wait, self.rest = state["wait"], state["rest"]
        self.factor.assign(state["factor"])

    def get_config(self) -> dict[str, Any]:
        return {
            "rate": self.peak,
            "warmup_steps": self.warmup_steps,
            **self.options,
            "state": self.state(),
        }


@register_schedule("plateau")
def plateau(
    rate: float,
    *,
    steps: int,
    warmup_steps: int,
    epoch_steps: int,
    decay_rate: float = 0.1,
    patience: int = 10,
    min_delta: float = 1e-4,
    cooldown: int = 0,
    minimum_share: float = 0.0,
) -> Any:
    """Return one that falls when the validation loss no longer does.

    After `patience` epochs without a loss that is less by `min_delta` it is
    multiplied by `decay_rate`, but never less than `minimum_share` of the peak;
    then `cooldown` epochs do not count.
    """
    return Plateau(
        rate,
        warmup_steps,
        decay_rate=decay_rate,
        patience=patience,
        min_delta=min_delta,
        cooldown=cooldown,
        minimum_share=minimum_share,
    )
