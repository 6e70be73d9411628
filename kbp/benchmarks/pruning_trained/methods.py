"""The methods of the race from a trained network."""

import bisect
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp import graph, sparsity
from kbp.benchmarks.pruning.methods import (
    channel_groups,
    without_channels,
    without_smallest,
)
from kbp.sparsity.channels.cost import Cost
from kbp.sparsity.channels.following import trace

DENSE = "dense"
# Of DTM by latency: which power of the speed-up branches give, and the share of
# the training that follows each.
BRANCHES, RECOVERY = 0.5, 0.03
# Of each gate, by its name, what each of its channel groups is worth.
Importance = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Method:
    """A way to prune a trained network.

    Attributes:
        prune: `prune(training) -> model` prunes and trains the dense network
            `training.teacher`; the result is a plain Keras model.
        structured: whether it removes channels; else it makes zeros.
        ours: whether it is kbp's.
    """

    prune: Callable[[Any], keras.Model]
    structured: bool = True
    ours: bool = False


def dtm_by_latency(
    training: Any, *, branches: float, recovery: float
) -> keras.Model:
    """Let branches go, then channels, by kbp's trainable masks.

    Args:
        training: of the trial.
        branches: which power of the speed-up the branches give.
        recovery: share of the training that follows each branch that goes.
    """
    model, start = without_branches(training, branches, recovery)
    return close_masks(
        training,
        scored(training, model),
        1 - 1 / training.trial.level,
        start=start,
        measure="latency",
        table=training.table,
        whole=training.teacher,
    )


def dtm_by_parameters(training: Any) -> keras.Model:
    """Remove channels by kbp's trainable masks, for what they weigh."""
    masked = scored(training, training.teacher)
    target = _share_for_latency(training, masked, "parameters")
    return close_masks(training, masked, target, measure="parameters")


def close_masks(
    training: Any,
    masked: keras.Model,
    target: float,
    *,
    start: float = 0.0,
    **options: Any,
) -> keras.Model:
    """Train while masks close, and on without what they removed.

    Args:
        training: of the trial.
        masked: the model with masks.
        target: of the schedule.
        start: share of the training that is done.
        **options: others of the schedule.
    """
    protocol = training.protocol
    schedule = sparsity.DTMSchedule(
        target,
        begin=0.0,
        end=0.9,
        budget="knapsack",
        multiple_of=protocol.multiple_of,
        **options,
    )
    stop = start + protocol.end
    training.fit(masked, schedule, start=start, stop=stop)
    small = sparsity.shrink(masked, multiple_of=protocol.multiple_of)
    training.fit(small, start=stop)
    return small


def without_branches(
    training: Any, branches: float, recovery: float
) -> tuple[keras.Model, float]:
    """Let the branches go that the dense network can spare, one by one.

    Args:
        training: of the trial.
        branches: see `dtm_by_latency`.
        recovery: see `dtm_by_latency`.

    Returns:
        What is left, and the share of the training that is done.
    """
    protocol, teacher, done = training.protocol, training.teacher, 0.0

    def train(model: keras.Model) -> None:
        nonlocal done
        training.fit(model, start=done, stop=done + recovery)
        done += recovery

    training.compile(teacher, 0, protocol.steps, 0.0)
    left = sparsity.drop_branches(
        teacher,
        training.batches(),
        share=1 - training.trial.level**-branches,
        measure="latency",
        table=training.table,
        train=train,
        steps=protocol.score_steps,
    )
    return left, done


def gated(model: keras.Model) -> keras.Model:
    """Return a model with gates on all groups of channels."""
    return sparsity.apply_dtm(model, granularity="channel", protect_ends=False)


def scored(training: Any, model: keras.Model) -> keras.Model:
    """Return a model with gates that begin with Taylor scores."""
    masked = gated(model)
    training.compile(masked, 0, training.protocol.steps, 0.0)
    sparsity.score_by_taylor(
        masked,
        training.batches(),
        steps_per_epoch=training.protocol.score_steps,
    )
    return masked


def l1_uniform(training: Any) -> keras.Model:
    """Remove the least L1 norms, the same share of each group, then train."""
    small = uniform(training)
    training.fit(small)
    return small


def narrower(training: Any) -> keras.Model:
    """Train as narrow a network from new weights, for as long in all."""
    small = keras.models.clone_model(uniform(training))
    return training.fit_new(small, taught=True)


def uniform(training: Any) -> keras.Model:
    """Return the dense network without the same share of each group.

    In multiples of some channels its latency goes in steps; it is the nearest.
    """
    multiple_of = training.protocol.multiple_of
    dense = training.teacher

    def small(share: float) -> keras.Model:
        copy = keras.models.clone_model(dense)
        copy.set_weights(dense.get_weights())
        return without_channels(copy, share, multiple_of)

    def distance(share: float) -> float:
        predicted = training.table.predict(small(share))
        return abs(math.log(predicted / training.milliseconds))

    widest = max(group[0][0].filters for group in channel_groups(dense))
    # Each group crosses each of its steps between two of these shares.
    count = 4 * widest // multiple_of
    return small(min((n / count for n in range(count)), key=distance))


def group_taylor(training: Any) -> keras.Model:
    """Remove the least Taylor scores of all layers, bit by bit, then train.

    As Molchanov et al. do, 2019: scores of gates behind BatchNormalization,
    compared over all layers.
    """
    protocol = training.protocol
    model, rounds = training.teacher, protocol.rounds
    whole = training.table.predict(model)
    for number in range(rounds):
        masked = gated(model)
        training.compile(masked, 0, protocol.steps, 0.0)
        importance = sparsity.taylor_importance(
            masked,
            training.batches(),
            steps_per_epoch=protocol.score_steps,
        )
        share = (number + 1) / rounds
        goal = whole + share * (training.milliseconds - whole)
        model = without_least(training, masked, importance, goal)
        training.fit(
            model,
            start=number / rounds * protocol.end,
            stop=(number + 1) / rounds * protocol.end,
        )
    training.fit(model, start=protocol.end)
    return model


def group_magnitude(training: Any) -> keras.Model:
    """Remove the least weights of groups of all layers at once, then train.

    As Torch-Pruning's `GroupMagnitudeImportance` does by default (Fang et al.,
    DepGraph, 2023): squares of the kernels that give a channel and of those
    that read it, and of its scales in BatchNormalization, over the mean of the
    group.
    """
    masked = gated(training.teacher)
    importance = group_norms(masked, training.teacher)
    small = without_least(training, masked, importance, training.milliseconds)
    training.fit(small)
    return small


def group_norms(masked: keras.Model, model: keras.Model) -> Importance:
    """Return for each gate the squares of the weights of each of its groups.

    Kernels and scales alone: no bias, and no statistic.

    Args:
        masked: the model with gates, which took some of the weights' sizes.
        model: the model without.
    """
    without = {layer.name: layer for layer in graph.flatten(model).layers}
    traced = trace(masked)
    squares = np.zeros(len(traced.removable()))
    for layer, mapping in traced.index_maps.items():
        for name in ("kernel", "gamma"):
            weight = getattr(layer, name, None)
            own = getattr(without.get(layer.name), name, None)
            if weight is None or own is None:
                continue
            values = np.square(graph.values_of(own).astype(np.float64))
            for axis, groups in mapping.weights.get(id(weight), {}).items():
                others = tuple({*range(values.ndim)} - {axis % values.ndim})
                roots = traced.groups.roots(groups)
                np.add.at(squares, roots, values.sum(axis=others))
    found = {}
    for gate in sparsity.masked_layers(masked):
        maps = traced.index_maps[graph.unwrapped(gate)]
        own = squares[traced.groups.roots(maps.weights[id(gate.kernel)][0])]
        found[gate.name] = own / own.mean()
    return found


def without_least(
    training: Any,
    masked: keras.Model,
    importance: Importance,
    milliseconds: float,
) -> keras.Model:
    """Return a model without the channels of the least importance of all.

    Args:
        training: with the latencies.
        masked: the model with gates; they change.
        importance: of their channels.
        milliseconds: that the smaller model may take.
    """
    multiple_of = training.protocol.multiple_of
    gates = [*sparsity.masked_layers(masked)]
    cost = Cost(masked, gates, "latency", training.table)
    scores = [importance[gate.name] for gate in gates]
    together = np.sort(np.concatenate(scores))

    def counts(number: int) -> list[int]:
        border = together[number - 1] if number else -np.inf
        found = []
        for own in scores:
            stay = own.size - np.sum(own <= border)
            stay = multiple_of * max(1, round(stay / multiple_of))
            found.append(own.size - min(own.size, stay))
        return found

    number = bisect.bisect_left(
        range(together.size),
        -milliseconds,
        key=lambda n: -float(cost.left(counts(n))),
    )
    for gate, own, count in zip(gates, scores, counts(number), strict=True):
        values = graph.values_of(gate.kernel).copy()
        values[np.argsort(own, kind="stable")[:count]] = 0.0
        gate.kernel.assign(values)
    return sparsity.shrink(masked, multiple_of=multiple_of)


def _share_for_latency(
    training: Any, masked: keras.Model, measure: str
) -> float:
    """Return the share of another measure that goes at the level's latency."""
    schedule = sparsity.DTMSchedule(
        0.0,
        measure=measure,
        budget="knapsack",
        multiple_of=training.protocol.multiple_of,
    )
    schedule.check(masked)
    gates = [gate for gate, _ in schedule.masked]
    cost = Cost(masked, gates, "latency", training.table)
    shares = np.linspace(0.0, 0.99, 100)
    found = bisect.bisect_left(
        shares,
        -training.milliseconds,
        key=lambda share: -float(cost.left(schedule.allocation(share))),
    )
    return float(shares[min(found, len(shares) - 1)])


def dtm_zeros(training: Any) -> keras.Model:
    """Make zeros with kbp's trainable masks, then train on."""
    masked = sparsity.apply_dtm(training.teacher)
    schedule = sparsity.DTMSchedule(training.trial.level, begin=0.0, end=0.7)
    training.fit(masked, schedule)
    return sparsity.strip(masked)


def magnitude_zeros(training: Any) -> keras.Model:
    """Make zeros of the smallest weights of all layers at once, then train."""
    masked = without_smallest(training.teacher, training.trial.level)
    training.fit(masked)
    return sparsity.strip(masked)


METHODS = {
    "DTM by latency": Method(
        functools.partial(dtm_by_latency, branches=BRANCHES, recovery=RECOVERY),
        ours=True,
    ),
    "DTM by parameters": Method(dtm_by_parameters, ours=True),
    "L1 uniform": Method(l1_uniform),
    "group Taylor": Method(group_taylor),
    "group magnitude": Method(group_magnitude),
    "narrower": Method(narrower),
    "DTM zeros": Method(dtm_zeros, structured=False, ours=True),
    "one-shot zeros": Method(magnitude_zeros, structured=False),
}
