"""Trials of a race: run by several processes, each a line of a file."""

import contextlib
import dataclasses
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from kbp._utils.files import write_atomically
from kbp._utils.machine import commit, machine, versions
from kbp.errors import UserError, check_known

_TITLES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "tensorflow-model-optimization": "TFMOT",
    "ai-edge-litert": "LiteRT",
}


class Log:
    """The finished trials of a race, as lines of a file.

    Args:
        file: read where it exists, begun where it does not.
        protocol: of the race, a dataclass.

    Attributes:
        head: the first line: protocol, machine and versions.
        results: the others.

    Raises:
        UserError: the file is of another protocol, or no such race's.
    """

    def __init__(self, file: Path, protocol):
        self.file = Path(file)
        self.head, self.results = read_race(self.file, type(protocol))
        expected = json.loads(json.dumps(asdict(protocol)))
        if self.head is None:
            self.head = {
                "protocol": expected,
                "machine": machine(),
                "versions": versions(),
            }
            _append(self.file, self.head)
        elif self.head["protocol"] != expected:
            raise UserError(f"{file}: holds a race of another protocol.")
        else:
            # Cuts off what a stopped process left of its last line.
            lines = [self.head, *self.results]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            write_atomically(self.file, text)

    def add(self, result: dict) -> None:
        """Append what has finished, the commit and a machine not the head's."""
        result = {**result, "commit": commit()}
        if machine() != self.head["machine"]:
            result["machine"] = machine()
        self.results.append(result)
        _append(self.file, result)


def find(results: list[dict], trial) -> dict | None:
    """Return the result of a trial, a dataclass, if it has run."""
    key = asdict(trial).items()
    return next((result for result in results if key <= result.items()), None)


def complete(results: list[dict], trials: Iterable) -> dict[tuple, list[dict]]:
    """Return the results of trials of which every seed has run.

    Args:
        results: of a race.
        trials: dataclasses, which end with `seed` and `split`.

    Returns:
        For each combination of the other fields' values, in the trials' order,
        the results of its seeds.
    """
    groups: dict[tuple, list] = {}
    for trial in trials:
        *key, _, _ = asdict(trial).values()
        groups.setdefault(tuple(key), []).append(find(results, trial))
    return {key: runs for key, runs in groups.items() if None not in runs}


def read_race(file: Path, protocol: type) -> tuple[dict | None, list[dict]]:
    """Return the head and the results of a race's file.

    A last line that a stopped process left unfinished does not count.

    Args:
        file: to read; where there is none, the head is `None`.
        protocol: the dataclass of the race's protocol.

    Raises:
        UserError: the file is no such race's.
    """
    if not file.is_file() or not file.stat().st_size:
        return None, []
    whole, _, _ = file.read_text().rpartition("\n")
    names = {field.name for field in dataclasses.fields(protocol)}
    try:
        head, *results = [json.loads(line) for line in whole.splitlines()]
        if head["protocol"].keys() == names:
            return head, results
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{file}: is no race of this kind.")


def measure_cases(
    file: Path,
    names: Iterable[str],
    cases: Iterable[str],
    measure: Callable,
    show: Callable,
    *,
    kind: str = "case",
) -> list[dict]:
    """Measure cases one by one, and append a line for each to a file.

    Args:
        file: JSON lines.
        names: of the cases, by default all.
        cases: names of all that there are.
        measure: `measure(name) -> figures`, a dict.
        show: `show(line)`, called with each line that was written.
        kind: what an error calls a case.

    Returns:
        The lines.

    Raises:
        UserError: a name is unknown.
    """
    names, lines = list(names or cases), []
    check_known(kind, names, cases)
    for name in names:
        line = {
            "case": name,
            **measure(name),
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
        }
        _append(file, line)
        show(line)
        lines.append(line)
    return lines


def read_cases(file: Path) -> list[dict]:
    """Return a file's newest line of each case, none if there is no file.

    Raises:
        UserError: the file holds something else.
    """
    if not file.is_file():
        return []
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        newest = {line["case"]: line for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: holds no measured cases.") from error
    return list(newest.values())


def _append(file, line):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def provenance(head: dict, results: Iterable[dict]) -> str:
    """Return a table's last sentence: machines, versions and commits.

    Args:
        head: what holds `machine` and `versions`.
        results: each with its `commit`, and its `machine` if it is another.
    """
    results, versions = [*results], head["versions"]
    machines = [
        f"{found['machine']['cores']} cores ({found['machine']['processor']})"
        for found in (head, *results)
        if "machine" in found
    ]
    named = [
        f"{title} {versions[package]}" for package, title in _TITLES.items()
    ]
    places = sorted({str(result["commit"]) for result in results})
    return (
        f"{' and '.join(dict.fromkeys(machines))}, {', '.join(named)}, kbp at "
        f"{', '.join(places)}."
    )


@contextlib.contextmanager
def worker_pool(
    count: int, create: Callable, *arguments
) -> Iterator[ProcessPoolExecutor]:
    """Yield processes of one thread, each with a trainer of its own.

    Args:
        count: how many.
        create: `create(*arguments) -> trainer`, whose `run(trial)` returns a
            result.
        *arguments: of `create`.
    """
    with ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(create, *arguments),
    ) as pool:
        try:
            yield pool
        finally:
            # What was interrupted is not to wait for all that was planned.
            pool.shutdown(wait=False, cancel_futures=True)


def run(
    pool: Executor,
    log: Log,
    trials: Iterable,
    describe: Callable[[dict], str],
    console: Console | None,
) -> None:
    """Run the trials that have not run, and log each as it finishes.

    Args:
        pool: of `worker_pool`.
        log: of the race.
        trials: dataclasses.
        describe: `describe(result) -> line` for the console.
        console: where progress goes.
    """
    todo = [trial for trial in trials if find(log.results, trial) is None]
    futures = [pool.submit(_work, trial) for trial in todo]
    for i, future in enumerate(as_completed(futures), start=1):
        result = future.result()
        log.add(result)
        if console is not None:
            console.print(
                f"{i}/{len(todo)} {describe(result)}", highlight=False
            )


_trainer = None


def _start_worker(create, *arguments):
    global _trainer
    import tensorflow as tf

    # One thread each: as fast in all as sharing them, and processor time is
    # then a fair clock on a machine that does other work too.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _trainer = create(*arguments)


def _work(trial):
    return _trainer.run(trial)
