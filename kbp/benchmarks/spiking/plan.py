"""The trials of the race of spiking networks."""

from collections.abc import Iterator

from kbp.benchmarks.spiking.trial import (
    CIFAR10,
    CONVERTED,
    ROUNDED,
    SOURCE,
    THROUGH_TIME,
    Protocol,
    Trial,
)


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the source networks of each data set, then what is made of them."""
    for name in names:
        yield trials(name, SOURCE, (0,), protocol)
        made = trials(name, CONVERTED, protocol.timesteps, protocol)
        if name == CIFAR10:
            made += trials(name, ROUNDED, protocol.deep_timesteps, protocol)
        else:
            made += trials(name, ROUNDED, protocol.rounded_timesteps, protocol)
            steps = protocol.trained_timesteps
            made += trials(name, THROUGH_TIME, steps, protocol)
        yield made


def trials(
    name: str, method: str, timesteps: tuple[int, ...], protocol: Protocol
) -> list[Trial]:
    """Return the trials of a method: each time with all seeds."""
    return [
        Trial(name, method, steps, seed)
        for steps in timesteps
        for seed in range(protocol.seeds)
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    said = (
        f"{result['data']}, {result['method']}, {result['timesteps']} steps, "
        f"seed {result['seed']}: {result['accuracy']:.2%}"
    )
    if "energy" not in result:
        return said
    return (
        f"{said}, {result['spikes']:,.0f} spikes, "
        f"{1e6 * result['energy']:.2f} \N{MICRO SIGN}J"
    )
