"""The trials of the race of techniques."""

from collections.abc import Iterator

from kbp.benchmarks.techniques.trial import DIGITS, FORECAST, Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield all trials, which depend on no results: seed by seed."""
    yield [
        Trial(name, data, seed)
        for seed in range(protocol.seeds)
        for data in (DIGITS, FORECAST)
        for name in names
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['technique']} on {result['data']}, seed {result['seed']}: "
        f"{result['score']:.4f}, {result['seconds']:.0f} s"
    )
