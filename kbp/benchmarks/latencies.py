"""Latencies of the files that a race's trials have exported."""

from collections.abc import Sequence
from pathlib import Path

from kbp import export
from kbp.benchmarks.log import Log


def latencies(results: list[dict]) -> dict[str, list[float]]:
    """Return the last measurement of a race.

    Args:
        results: of a `Log`.

    Returns:
        For each .tflite file first quartile, median and third quartile of the
        milliseconds of one call.
    """
    found = [r["latency"] for r in results if "latency" in r]
    return found[-1] if found else {}


def are_known(log: Log, names: Sequence[str]) -> bool:
    """Say whether the last measurement has figures of all these files."""
    return latencies(log.results).keys() >= {*names}


def measure(log: Log, folder: Path, names: Sequence[str], rounds: int) -> None:
    """Measure all files in turns at one thread, and log it as one line.

    Args:
        log: of the race.
        folder: of the files.
        names: of the files.
        rounds: of the measurement.
    """
    figures = export.benchmark(
        [folder / name for name in names], num_threads=1, rounds=rounds
    )
    log.add(
        {
            "latency": {
                name: [figure.low, figure.median, figure.high]
                for name, figure in zip(names, figures, strict=True)
            }
        }
    )
