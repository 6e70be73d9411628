"""The trials of the optimizer race: a search, then several seeds."""

import math
from collections.abc import Iterator
from typing import Any

from kbp.benchmarks.core.log import find_all
from kbp.benchmarks.optimizers.contestants import CONTESTANTS
from kbp.benchmarks.optimizers.trial import Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the search of each optimizer, then the trials at its best point.

    The search has `protocol.trials` points of learning rate and weight decay,
    judged on validation data; the trials at the best point are judged on test
    data.

    Args:
        names: of the optimizers.
        protocol: of the race.
        results: which hold those of a search when its last trials are asked
            for.
    """
    for name in names:
        yield search(name, protocol)
        yield finals(name, protocol, results)


def search(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of an optimizer's search."""
    contestant = CONTESTANTS[name]
    return [
        Trial(name, rate, decay, seed=0, split="validation")
        for rate, decay in points(contestant, protocol.decays, protocol.trials)
    ]


def points(
    contestant: Any, decays: tuple[float, float], count: int
) -> list[tuple[float, float]]:
    """Return learning rates and decays to search an optimizer's best with.

    They are Hammersley's points: the logarithms of the learning rates are
    evenly spaced, the decays follow the van der Corput sequence.

    Args:
        contestant: with `learning_rates`, and whether it `decays`.
        decays: lowest and highest product of rate and decay.
        count: of points.
    """
    found = []
    for i in range(count):
        rate = _between(contestant.learning_rates, (i + 0.5) / count)
        decay = _between(decays, _van_der_corput(i)) / rate
        decay = float(f"{decay:.4g}") if contestant.decays else 0.0
        found.append((float(f"{rate:.4g}"), decay))
    return found


def finals(name: str, protocol: Protocol, results: list[dict]) -> list[Trial]:
    """Return the trials at an optimizer's best point, with new seeds."""
    searched = find_all(results, search(name, protocol))
    if len(searched) < protocol.trials:
        return []
    best = best_of(searched)
    return [
        Trial(name, best["learning_rate"], best["weight_decay"], seed, "test")
        for seed in range(1, protocol.seeds + 1)
    ]


def best_of(results: list[dict]) -> dict:
    """Return the result with the fewest steps, then the best accuracy."""
    return min(
        results,
        key=lambda r: (r["steps_to_target"] or math.inf, -r["accuracy"]),
    )


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['optimizer']} {result['learning_rate']:g} "
        f"{result['weight_decay']:g} {result['split']} {result['seed']}: "
        f"{result['steps_to_target']} steps, {result['accuracy']:.2%}"
    )


def _between(bounds, share):
    low, high = map(math.log, bounds)
    return math.exp(low + share * (high - low))


def _van_der_corput(index):
    value, scale = 0.0, 0.5
    while index:
        value += scale * (index & 1)
        index >>= 1
        scale /= 2
    return value
