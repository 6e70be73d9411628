"""Races whose trials leave .tflite files, which are timed at the end."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.core.latencies import are_known, measure, rebuild
from kbp.benchmarks.core.log import Log, run, worker_pool
from kbp.errors import UserError


def exported_files(result: dict) -> list[str]:
    """Return the names in a result's `files`, which has one of each dtype."""
    return [exported["name"] for exported in result.get("files", {}).values()]


def race(
    file: Path,
    protocol,
    planned: Iterable[Iterable],
    *,
    create: Callable,
    data_dir: str | Path | None,
    describe: Callable[[dict], str],
    files_of: Callable[[dict], list[str]] = exported_files,
    network: Callable | None = None,
    workers: int = 1,
    rounds: int = 30,
    again: bool = False,
    console: Console | None = None,
) -> list[dict]:
    """Run the trials that have not run, then time their files in turns.

    Each finished trial is a line of the file and is not run again, so a race
    can be stopped and taken up at any time. Latencies are measured when the
    machine is free of trainings; one line takes all figures of a measurement.

    Args:
        file: JSON lines; the first holds the protocol, machine and versions.
            The .tflite files lie beside it, see `folder_of`.
        protocol: what all trials have in common, a dataclass.
        planned: groups of trials; one begins when the one before has finished.
        create: `create(protocol, data_dir, folder) -> trainer`, in each worker.
        data_dir: the folder of data sets.
        describe: `describe(result) -> line` for the console.
        files_of: `files_of(result) -> names` of the files of a result.
        network: `network(trainer, result) -> model`, the network of a result,
            of which missing files are made again: see `latencies.rebuild`.
        workers: trials at a time, of one thread each.
        rounds: of the measurement of latencies.
        again: measure latencies though they are known.
        console: where progress goes.

    Returns:
        The trials and measurements, all that the file holds.

    Raises:
        UserError: the file is of another protocol, a data set is missing, or
            files to be timed are.
    """
    folder = folder_of(file)
    trainer = create(protocol, data_dir, folder)  # missing data are said here
    log = Log(file, protocol)
    with worker_pool(workers, create, protocol, data_dir, folder) as pool:
        for trials in planned:
            run(pool, log, trials, describe, console)
    timed = [r for r in log.results if "latency" not in r and files_of(r)]
    names = [name for result in timed for name in files_of(result)]
    if names and (again or not are_known(log, names)):
        for result in timed if network else ():
            paths = {d: folder / f["name"] for d, f in result["files"].items()}
            if not all(path.is_file() for path in paths.values()):
                rebuild(network(trainer, result), paths)
        for name in names:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name}: missing. Race into a new file."
                )
        measure(log, folder, names, rounds)
    return log.results


def folder_of(file: Path) -> Path:
    """Return the folder of a race's files."""
    return Path(file).with_suffix(".files")
