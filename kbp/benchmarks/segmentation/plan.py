"""The trials of the segmentation race."""

import statistics
from collections.abc import Iterator

from kbp.benchmarks.segmentation.trial import FOLDS, Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the trials of all networks, which depend on no results."""
    yield [trial for name in names for trial in trials(name, protocol)]


def trials(network: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a network: each fold or seed of each data set."""
    return [
        Trial(network, data, seed)
        for data, folds in FOLDS.items()
        for seed in range(folds or protocol.seeds)
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['data']}, {result['network']}, {result['seed']}: Dice "
        f"{statistics.fmean(result['dice']):.2%}"
    )
