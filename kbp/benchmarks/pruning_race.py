"""Ways to prune, raced on the same network, batches and optimizer."""

import functools
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.latencies import are_known, measure
from kbp.benchmarks.log import Log, read_race, run, worker_pool
from kbp.benchmarks.pruners import METHODS
from kbp.benchmarks.pruning_trial import Protocol, Trainer, Trial, rebuild
from kbp.errors import check_known

RESULTS = Path(__file__).parent / "results" / "pruning.jsonl"
read = functools.partial(read_race, protocol=Protocol)


def race(
    file: Path,
    *,
    protocol: Protocol | None = None,
    names: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    workers: int = 1,
    rounds: int = 30,
    again: bool = False,
    console: Console | None = None,
) -> list[dict]:
    """Train each method at each level with several seeds; time the networks.

    Each finished training is a line of the file and is not run again, so a
    race can be stopped and taken up at any time. Last, when the machine is
    free of trainings, the latency of every .tflite file is measured, and one
    line takes all figures of such a measurement.

    Args:
        file: JSON lines; the first holds the protocol, machine and versions.
            The .tflite files lie beside it, see `folder_of`.
        protocol: what all trainings have in common; by default `Protocol()`.
        names: of the methods that race now, by default all.
        data_dir: the folder that holds CIFAR-10.
        workers: trainings at a time, of one thread each.
        rounds: of the measurement of latencies.
        again: measure latencies though they are known.
        console: where progress goes.

    Returns:
        The trainings and measurements, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, or the
            data set is missing.
    """
    protocol = protocol or Protocol()
    names = list(names or METHODS)
    check_known("method", names, METHODS)
    folder = folder_of(file)
    Trainer(protocol, data_dir, folder)  # missing data is said here
    log = Log(file, protocol)
    with worker_pool(workers, Trainer, protocol, data_dir, folder) as pool:
        planned = [trial for name in names for trial in trials(name, protocol)]
        run(pool, log, planned, _describe, console)
    _time_files(log, folder, rounds, again)
    return log.results


def folder_of(file: Path) -> Path:
    """Return the folder of a race's .tflite files."""
    return Path(file).with_suffix(".files")


def trials(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a method."""
    levels = (0.0,) if name == "dense" else protocol.levels
    return [
        Trial(name, level, seed)
        for level in levels
        for seed in range(1, protocol.seeds + 1)
    ]


def _time_files(log, folder, rounds, again):
    exported = [result for result in log.results if "files" in result]
    names = [f["name"] for r in exported for f in r["files"].values()]
    if names and (again or not are_known(log, names)):
        for result in exported:
            rebuild(result, folder)
        measure(log, folder, names, rounds)


def _describe(result):
    return (
        f"{result['method']} {result['level']:g} {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['pruned']:.1%} pruned"
    )
