"""Speeds that several peers reached in turns, compared with the first's."""

import statistics
from collections.abc import Callable, Iterator, Mapping

import numpy as np


def speeds_in_turns(
    runs: Mapping[str, Callable[[], float]], rounds: int
) -> dict:
    """Let each peer take its turn in every round.

    Args:
        runs: by name, `run() -> speed` of one turn; the first is kbp's.
        rounds: that count; one before them fills the caches. The order changes
            every time.

    Returns:
        `peers`: by name, `speed`, the median; its `quartiles`; and `ratio`, the
        median of the rounds' ratios of the first one's speed to it. `rounds`.
    """
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name in [*runs] if i % 2 else [*reversed([*runs])]:
            speeds[name].append(runs[name]())
    of = {name: np.array(found[1:]) for name, found in speeds.items()}
    first = next(iter(of.values()))
    return {
        "peers": {
            name: {
                "speed": statistics.median(found),
                "quartiles": np.percentile(found, (25, 75)).tolist(),
                "ratio": statistics.median(first / found),
            }
            for name, found in of.items()
        },
        "rounds": rounds,
    }


def cells(line: dict) -> Iterator[list[str]]:
    """Yield name, speed and ratio of each peer of a measured case, as text."""
    for name, peer in line["peers"].items():
        low, high = peer["quartiles"]
        speed = f"{peer['speed']:,.0f} ({low:,.0f} - {high:,.0f})"
        yield [line["case"], name, speed, f"{peer['ratio']:.2f}"]
