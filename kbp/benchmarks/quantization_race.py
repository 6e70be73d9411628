"""Ways to eight bits, raced on the same trained networks."""

import functools
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.latencies import are_known, measure
from kbp.benchmarks.log import Log, read_race, run, worker_pool
from kbp.benchmarks.quantization_networks import NETWORKS
from kbp.benchmarks.quantization_trial import Protocol, Trainer, Trial
from kbp.benchmarks.quantizers import FLOAT, METHODS, edge_quantizer
from kbp.errors import UserError, check_known

RESULTS = Path(__file__).parent / "results" / "quantization.jsonl"
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
    """Make, judge and time a file by each method of each network.

    Each finished file is a line of the results and is not made again, so a
    race can be stopped and taken up at any time. Last, when the machine is
    free of trainings, the latency of every file is measured, and one line
    takes all figures of such a measurement.

    Args:
        file: JSON lines; the first holds the protocol, machine and versions.
            The .tflite files and the trained networks lie in the folder beside
            it, see `folder_of`.
        protocol: what all trials have in common; by default `Protocol()`.
        names: of the networks that race now, by default all.
        data_dir: the folder that holds CIFAR-10.
        workers: trials at a time, of one thread each.
        rounds: of the measurement of latencies.
        again: measure latencies though they are known.
        console: where progress goes.

    Returns:
        The trials and measurements, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, the data
            set or AI Edge Quantizer is missing, or so are files to be timed.
    """
    protocol = protocol or Protocol()
    names = list(names or NETWORKS)
    check_known("network", names, NETWORKS)
    edge_quantizer()
    folder = folder_of(file)
    Trainer(protocol, data_dir, folder)  # missing data is said here
    log = Log(file, protocol)
    with worker_pool(workers, Trainer, protocol, data_dir, folder) as pool:
        # The networks are trained first; what follows finds them.
        for methods in ([FLOAT], METHODS):
            planned = [
                trial
                for name in names
                for trial in trials(name, protocol)
                if trial.method in methods
            ]
            run(pool, log, planned, _describe, console)
    files = [r["file"] for r in log.results if "file" in r]
    if again or not are_known(log, files):
        for name in files:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name}: missing. Race into a new file."
                )
        measure(log, folder, files, rounds)
    return log.results


def folder_of(file: Path) -> Path:
    """Return the folder of a race's files and networks."""
    return Path(file).with_suffix(".files")


def trials(network: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a network."""
    return [
        Trial(network, name, seed)
        for name, method in METHODS.items()
        if network in (method.networks or NETWORKS)
        for seed in range(1, protocol.seeds + 1)
    ]


def _describe(result):
    return (
        f"{result['network']}, {result['method']}, {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['bytes'] / 1e3:,.0f} kB"
    )
