"""The trials of the race from a trained network."""

from collections.abc import Iterator

from kbp.benchmarks.pruning.trial import Trial
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.benchmarks.pruning_trained.training import Protocol


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the trainings of dense networks, and of all methods after them.

    These need the dense network of their seed. The last dense network trains
    beside the others' methods: an odd one must not leave a processor idle.
    """
    *first, last = trials(DENSE, protocol)
    methods = [t for name in names for t in trials(name, protocol)]
    methods.sort(key=lambda trial: trial.seed)
    yield first
    yield [last, *(t for t in methods if t.seed < last.seed)]
    yield [t for t in methods if t.seed == last.seed]


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
