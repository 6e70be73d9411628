"""The parts of a step that update variables, on one replica."""

from collections.abc import Collection, Mapping, Sequence

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.groups import Group
from kbp.optimizers.math import matrix_direction, precondition


class Update:
    """The update of some groups of variables and of their moments.

    Args:
        groups: groups of variables.
        optimizer: the `HybridOptimizer`, whose settings are read here, once.
        undecayed: indices of the variables without weight decay.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        optimizer: keras.optimizers.Optimizer,
        undecayed: Sequence[int],
    ):
        self.groups, self.undecayed = groups, undecayed
        self.beta_1, self.beta_2 = optimizer.beta_1, optimizer.beta_2
        self.epsilon = optimizer.epsilon
        self.power = optimizer.preconditioner_power
        self.retain = optimizer.amsgrad_decay
        self.decay = optimizer.weight_decay or 0.0

    def apply(
        self,
        present: Collection[int],
        gradients: Sequence[Tensor],
        weights: Sequence[Sequence[keras.Variable]],
        moments: Sequence[Sequence[keras.Variable]],
        scalars: Sequence[Tensor],
        accept: Tensor,
    ) -> None:
        """Update all groups that have a gradient.

        Args:
            present: indices of all variables that have a gradient.
            gradients: a tensor of each group's shape.
            weights: the variables of each group.
            moments: the moments of each group.
            scalars: the learning rate and the `corrections`.
            accept: boolean tensor; where it is false, nothing changes.
        """
        for i, group in enumerate(self.groups):
            if group.is_missing(present):
                continue
            dtype = weights[i][0].dtype
            rate, *factors = (ops.cast(x, dtype) for x in scalars)
            # Factors of 1 and 0 that XLA fuses with the rule; a choice between
            # old and new tensors takes it a third longer.
            rate = rate * ops.cast(accept, dtype)
            move = ops.cast(accept, dtype)
            if not group.is_whole(present):
                move = move * _mask(group, present, dtype)
            gradient = ops.where(
                accept, gradients[i], ops.zeros_like(gradients[i])
            )
            step = self.step(group, gradient, moments[i], move, factors)
            self.move(group, present, weights[i], step, rate)

    def step(
        self,
        group: Group,
        gradient: Tensor,
        moments: Sequence[keras.Variable],
        move: Tensor,
        factors: Sequence[Tensor],
    ) -> Tensor:
        """Update a group's moments and return its step, before the rate."""
        along, ahead, unbias = factors
        m, *second = moments
        new = [m + (gradient - m) * (move * (1 - self.beta_1))]
        step = along * new[0] + ahead * gradient
        if group.matrix:
            kernels = ops.reshape(step, group.matrices)
            step = ops.reshape(matrix_direction(kernels), step.shape)
        elif self.power:
            v, *maximum = second
            change = move * (1 - self.beta_2)
            new.append(v + (ops.square(gradient) - v) * change)
            if self.retain:
                kept = maximum[0] * (1 - move * (1 - self.retain))
                new.append(ops.maximum(kept, new[1]))
            step = precondition(step, new[-1], unbias, self.epsilon, self.power)
        for moment, value in zip(moments, new, strict=True):
            moment.assign(value)
        return step

    def move(
        self,
        group: Group,
        present: Collection[int],
        weights: Sequence[keras.Variable],
        step: Tensor,
        rate: Tensor,
    ) -> None:
        """Move a group's weights that have a gradient, and let them decay."""
        for i, weight, part in zip(
            group.indices, weights, group.split(step), strict=True
        ):
            if i in present:
                if self.decay and i not in self.undecayed:
                    part = part + self.decay * weight
                weight.assign(weight - rate * part)


def _mask(group: Group, present: Collection[int], dtype: str) -> Tensor:
    return group.join(
        [
            ops.full(shape, float(i in present), dtype=dtype)
            for i, shape in zip(group.indices, group.shapes, strict=True)
        ]
    )


def accumulate(
    gradients: Mapping[int, Tensor],
    sums: Sequence[keras.Variable],
    finite: Tensor,
    due: Tensor,
    micro_steps: int,
) -> dict[int, Tensor]:
    """Add gradients to running sums, which are reset when an update is due.

    Args:
        gradients: gradients of one micro-batch, by the index of their sums.
        sums: the variables that hold the sums.
        finite: boolean tensor; where it is false, the gradients are left out.
        due: boolean tensor; whether the sums are used now.
        micro_steps: number of micro-batches of an update.

    Returns:
        The sums of the variables that have a gradient now, divided by
        `micro_steps`.
    """
    means = {}
    for i, total in enumerate(sums):
        value = ops.convert_to_tensor(total)
        if i in gradients:
            value = ops.where(finite, value + gradients[i], value)
            means[i] = value / micro_steps
        total.assign(ops.where(due, ops.zeros_like(value), value))
    return means


def average(
    weights: Sequence[keras.Variable],
    averages: Sequence[keras.Variable | None],
    accept: Tensor,
    is_first: Tensor,
    momentum: float,
    overwrite: Tensor | None,
) -> None:
    """Update the moving averages of weights.

    Args:
        weights: the variables.
        averages: the variables of their averages, `None` where there is none.
        accept: boolean tensor; where it is false, nothing changes.
        is_first: boolean tensor; the average then starts at the weights.
        momentum: share of the old average that is kept.
        overwrite: boolean tensor, whether the average replaces the weight, or
            `None` for never.
    """
    for weight, kept in zip(weights, averages, strict=True):
        if kept is None:
            continue
        before, value = map(ops.convert_to_tensor, (kept, weight))
        share = ops.cast(ops.where(is_first, 0.0, momentum), kept.dtype)
        mean = share * before + (1 - share) * value
        # Before the first update it is the weight, never zero: `fit` ends with
        # an overwriting, whatever was skipped.
        kept.assign(ops.where(ops.logical_or(accept, is_first), mean, before))
        if overwrite is not None:
            replace = ops.logical_and(accept, overwrite)
            weight.assign(ops.where(replace, mean, value))
