"""Speeds that several peers reached in turns, compared with the first's."""

import collections
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

# Begins anew, and returns what runs a number of batches to their end.
Start = Callable[[], Callable[[int], object]]
_AHEAD = 3  # batches of a turn before its clock starts


def taken_from(batches: Iterable) -> Start:
    """Return what takes batches, from a new iterator for each turn.

    One that lives on would fill its buffers while others take their turns, and
    give what is in them for nothing.

    Args:
        batches: such as a data set of tf.data.
    """

    def start() -> Callable[[int], object]:
        taken = iter(batches)
        return lambda count: collections.deque(
            itertools.islice(taken, count), maxlen=0
        )

    return start


def batches_of_a_turn(
    start: Start, seconds: float, before: Callable[[], object] | None = None
) -> tuple[int, float]:
    """Run batches for a while, after some that do not count.

    Args:
        start: of what is measured.
        seconds: that the turn takes at least.
        before: is called when the clock starts.

    Returns:
        Number of batches, and the seconds that they took.
    """
    run, count = start(), 0
    run(_AHEAD)
    if before is not None:
        before()
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        # Ever more at once, because an accelerator waits at the end of each.
        few = 1 + count // 8
        run(few)
        count += few
    return count, took


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
