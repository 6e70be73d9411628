"""The trials of the quantization race."""

from collections.abc import Iterator

from kbp.benchmarks.quantization.methods import FLOAT, METHODS
from kbp.benchmarks.quantization.networks import NETWORKS
from kbp.benchmarks.quantization.trial import Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the trials that train the networks, then those of all methods.

    The second group finds the trained networks in the folder of the files.
    """
    planned = [trial for name in names for trial in trials(name, protocol)]
    yield [trial for trial in planned if trial.method == FLOAT]
    yield planned


def trials(network: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a network: each method with several seeds."""
    return [
        Trial(network, name, seed)
        for name, method in METHODS.items()
        if network in (method.networks or NETWORKS)
        for seed in range(1, protocol.seeds + 1)
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['network']}, {result['method']}, {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['bytes'] / 1e3:,.0f} kB"
    )
