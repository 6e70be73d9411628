"""The parts of a step that update variables, on one replica."""

from collections.abc import Callable, Collection, Mapping, Sequence

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.groups import Group
from kbp.optimizers.math import matrix_direction, precondition


def make_update(
    groups: Sequence[Group],
    optimizer: keras.optimizers.Optimizer,
    undecayed: Sequence[int],
) -> Callable[..., None]:
    """Return the function that updates some groups of variables.

    Args:
        groups: groups of variables.
        optimizer: the `HybridOptimizer`, whose settings are read here, once.
        undecayed: indices of the variables without weight decay.

    Returns:
        `update(present, gradients, weights, moments, scalars, accept)`. For
        each group, `gradients` holds a tensor of its shape, `weights` the list
        of its variables and `moments` the list of its moments. `present` holds
        the indices of all variables that have a gradient, `scalars` the
        learning rate and the `corrections`. Where `accept`, a boolean tensor,
        is false, nothing changes.
    """
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    epsilon, power = optimizer.epsilon, optimizer.preconditioner_power
    retain, decay = optimizer.amsgrad_decay, optimizer.weight_decay or 0.0

    def update(
        present: Collection[int],
        gradients: Sequence[Tensor],
        weights: Sequence[Sequence[keras.Variable]],
        moments: Sequence[Sequence[keras.Variable]],
        scalars: Sequence[Tensor],
        accept: Tensor,
    ) -> None:
        for i, group in enumerate(groups):
            if not group.is_missing(present):
                one(
                    group,
                    present,
                    gradients[i],
                    weights[i],
                    moments[i],
                    scalars,
                    accept,
                )

    def one(
        group: Group,
        present: Collection[int],
        gradient: Tensor,
        weights: Sequence[keras.Variable],
        moments: Sequence[keras.Variable],
        scalars: Sequence[Tensor],
        accept: Tensor,
    ) -> None:
        dtype = weights[0].dtype
        rate, along, ahead, unbias = (ops.cast(x, dtype) for x in scalars)
        # Factors of 1 and 0 that XLA fuses with the rule; a choice between old
        # and new tensors takes it a third longer.
        rate = rate * ops.cast(accept, dtype)
        move = ops.cast(accept, dtype)
        if not group.is_whole(present):
            move = move * _mask(group, present, dtype)
        gradient = ops.where(accept, gradient, ops.zeros_like(gradient))

        m, *second = moments
        new = [m + (gradient - m) * (move * (1 - beta_1))]
        step = along * new[0] + ahead * gradient
        if group.matrix:
            step = matrix_direction(step)
        elif power:
            v, *maximum = second
            new.append(v + (ops.square(gradient) - v) * (move * (1 - beta_2)))
            if retain:
                kept = maximum[0] * (1 - move * (1 - retain))
                new.append(ops.maximum(kept, new[1]))
            step = precondition(step, new[-1], unbias, epsilon, power)
        for moment, value in zip(moments, new, strict=True):
            moment.assign(value)
        for i, weight, part in zip(
            group.indices, weights, group.split(step), strict=True
        ):
            if i in present:
                if decay and i not in undecayed:
                    part = part + decay * weight
                weight.assign(weight - rate * part)

    return update


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
