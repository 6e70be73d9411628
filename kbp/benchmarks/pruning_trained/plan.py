"""The trials of the race from a trained network."""

from collections.abc import Iterator

from kbp.benchmarks.pruning.trial import Trial
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.benchmarks.pruning_trained.trial import Protocol


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the dense networks' trainings, then those of all methods.

    These need the dense networks; those of one seed come before the next one's.
    """
    yield trials(DENSE, protocol)
    planned = [t for name in names for t in trials(name, protocol)]
    yield sorted(planned, key=lambda trial: trial.seed)


def trials(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a method: each level with several seeds."""
    seeds = range(1, protocol.seeds + 1)
    return [
        Trial(name, level, seed)
        for level in levels(name, protocol)
        for seed in seeds
    ]


def levels(name: str, protocol: Protocol) -> tuple[float, ...]:
    """Return the levels at which a method runs."""
    if name == DENSE:
        return (1.0,)
    if METHODS[name].structured:
        return tuple(protocol.speedups)
    return tuple(protocol.zeros)


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['method']} {result['level']:g} {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['parameters']} parameters, "
        f"{result['multiply_adds'] / 1e6:.1f} M multiply-adds, "
        f"{result['zeros']:.0%} zeros"
    )
