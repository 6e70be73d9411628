"""The methods of the race from a trained network."""

import bisect
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
from kbp.benchmarks.pruning_trained.dtm import (
    dtm_by_latency,
    dtm_by_parameters,
    dtm_zeros,
    gated,
)
from kbp.sparsity.channels.cost import Cost
from kbp.sparsity.channels.following import trace

DENSE = "dense"
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


def magnitude_zeros(training: Any) -> keras.Model:
    """Make zeros of the smallest weights of all layers at once, then train."""
    masked = without_smallest(training.teacher, training.trial.level)
    training.fit(masked)
    return sparsity.strip(masked)


METHODS = {
    "DTM by latency": Method(dtm_by_latency, ours=True),
    "DTM by parameters": Method(dtm_by_parameters, ours=True),
    "L1 uniform": Method(l1_uniform),
    "group Taylor": Method(group_taylor),
    "group magnitude": Method(group_magnitude),
    "narrower": Method(narrower),
    "DTM zeros": Method(dtm_zeros, structured=False, ours=True),
    "one-shot zeros": Method(magnitude_zeros, structured=False),
}
