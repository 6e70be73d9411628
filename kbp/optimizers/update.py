"""The parts of a step that change variables, each on one replica."""

from collections.abc import Callable, Sequence

from keras import ops

from kbp.optimizers import rule
from kbp.optimizers.groups import Group


def make_update(group: Group, optimizer, decays: Sequence[bool]) -> Callable:
    """Return the function that updates a group.

    Args:
        group: the variables.
        optimizer: the `HybridOptimizer`, whose settings are read once.
        decays: whether weight decay acts on each of the variables.

    Returns:
        `update(present, gradient, weights, moments, scalars, accept)`, with
        `present` a tuple that tells which of the variables have a gradient,
        `gradient` and `moments` in the group's shape, `scalars` the learning
        rate and `rule.corrections`, and `accept` a boolean tensor: without it
        everything stays as it is.
    """
    beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
    epsilon, power = optimizer.epsilon, optimizer.preconditioner_power
    retain, decay = optimizer.amsgrad_decay, optimizer.weight_decay or 0.0

    def update(present, gradient, weights, moments, scalars, accept):
        dtype = weights[0].dtype
        gradient = ops.cast(gradient, dtype)
        rate, along, ahead, unbias = (ops.cast(x, dtype) for x in scalars)
        keep = accept
        if not all(present):
            keep = ops.logical_and(accept, _mask(group, present))

        m, *second = moments
        new = [m + (gradient - m) * (1 - beta_1)]
        step = along * new[0] + ahead * gradient
        if group.matrix:
            step = rule.matrix_direction(step)
        elif power:
            v, *maximum = second
            new.append(v + (ops.square(gradient) - v) * (1 - beta_2))
            if retain:
                new.append(ops.maximum(maximum[0] * retain, new[1]))
            step = rule.precondition(step, new[-1], unbias, epsilon, power)
        for moment, value in zip(moments, new, strict=True):
            moment.assign(ops.where(keep, value, moment))
        for weight, part, has, decayed in zip(
            weights, group.split(step), present, decays, strict=True
        ):
            if has:
                change = part + decay * weight if decay and decayed else part
                weight.assign(ops.where(accept, weight - rate * change, weight))

    return update


def _mask(group, present):
    return group.join(
        [
            ops.full(shape, has, dtype="bool")
            for shape, has in zip(group.shapes, present, strict=True)
        ]
    )


def accumulate(gradients, sums, finite, due, micro_steps: int) -> list:
    """Add gradients to running sums; empty these where an update is due.

    Args:
        gradients: of one micro-batch.
        sums: the variables that hold the sums.
        finite: boolean tensor; without it the gradients are left out.
        due: boolean tensor; whether the sums are to be used now.
        micro_steps: micro-batches of an update.

    Returns:
        The sums, divided by `micro_steps`.
    """
    means = []
    for gradient, total in zip(gradients, sums, strict=True):
        after = ops.where(finite, total + gradient, total)
        total.assign(ops.where(due, ops.zeros_like(after), after))
        means.append(after / micro_steps)
    return means


def average(weights, averages, accept, is_first, momentum, overwrite) -> None:
    """Update the moving averages of weights.

    Args:
        weights: the variables.
        averages: the variables of their averages, `None` where there is none.
        accept: boolean tensor; without it nothing changes.
        is_first: boolean tensor; the average then starts at the weights.
        momentum: share of the old average that is kept.
        overwrite: boolean tensor, whether the average replaces the weight, or
            `None` for never.
    """
    for weight, kept in zip(weights, averages, strict=True):
        if kept is None:
            continue
        share = ops.cast(ops.where(is_first, 0.0, momentum), kept.dtype)
        mean = share * kept + (1 - share) * weight
        kept.assign(ops.where(accept, mean, kept))
        if overwrite is not None:
            replace = ops.logical_and(accept, overwrite)
            weight.assign(ops.where(replace, mean, weight))
