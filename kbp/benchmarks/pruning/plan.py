"""The trials of the pruning race."""

from collections.abc import Iterator

from kbp.benchmarks.pruning.trial import Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the trials of all methods, which depend on no results."""
    yield [trial for name in names for trial in trials(name, protocol)]


def trials(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a method: each level with several seeds."""
    levels = (0.0,) if name == "dense" else protocol.levels
    return [
        Trial(name, level, seed)
        for level in levels
        for seed in range(1, protocol.seeds + 1)
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['method']} {result['level']:g} {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['pruned']:.1%} pruned"
    )
