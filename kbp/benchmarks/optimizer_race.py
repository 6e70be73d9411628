"""Optimizers raced to a target accuracy, each tuned with the same budget."""

import json
import math
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.contestants import contestants
from kbp.benchmarks.trial import Protocol, Trainer, Trial
from kbp.errors import UserError, nearest
from kbp.export.files import write_atomically
from kbp.training.workdir import commit, machine, versions

RESULTS = Path(__file__).parent / "results" / "optimizers.jsonl"


def race(
    file: Path,
    *,
    protocol: Protocol | None = None,
    names: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    workers: int = 1,
    console: Console | None = None,
) -> list[dict]:
    """Search each optimizer's best point, then train there with several seeds.

    The search has `protocol.trials` points of learning rate and weight decay,
    judged on validation data; the trainings at the best point are judged on
    test data. Each finished training is a line of the file and is not run
    again, so a race can be stopped and taken up at any time.

    Args:
        file: JSON lines; the first holds the protocol, machine and versions.
        protocol: what all trainings have in common; by default `Protocol()`.
        names: of the optimizers that race now, by default all.
        data_dir: the folder that holds CIFAR-10.
        workers: trainings at a time, of one thread each.
        console: where progress goes.

    Returns:
        The finished trainings, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, or the
            data set is missing.
    """
    protocol = protocol or Protocol()
    names = list(names or contestants())
    for name in names:
        if name not in contestants():
            raise UserError(
                f"unknown optimizer {name!r}{nearest(name, contestants())}"
            )
    Trainer(protocol, data_dir)  # missing data is said here, not by a worker
    log = Log(file, protocol)
    with ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(protocol, data_dir),
    ) as pool:
        try:
            for name in names:
                _run(pool, log, search(name, protocol), console)
                _run(pool, log, finals(name, protocol, log), console)
        finally:
            # What was interrupted is not to wait for all that was planned.
            pool.shutdown(wait=False, cancel_futures=True)
    return log.results


def search(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of an optimizer's search.

    Hammersley's points: the learning rates are evenly spaced in their
    logarithm, the decays follow the van der Corput sequence.
    """
    contestant = contestants()[name]
    trials = []
    for i in range(protocol.trials):
        rate = _between(contestant.learning_rates, (i + 0.5) / protocol.trials)
        decay = _between(protocol.decays, _van_der_corput(i)) / rate
        trials.append(
            Trial(
                name,
                float(f"{rate:.4g}"),
                float(f"{decay:.4g}") if contestant.decays else 0.0,
                seed=0,
                split="validation",
            )
        )
    return trials


def finals(name: str, protocol: Protocol, log: "Log") -> list[Trial]:
    """Return the trials at an optimizer's best point, with new seeds."""
    best = best_of([log.find(trial) for trial in search(name, protocol)])
    return [
        Trial(name, best["learning_rate"], best["weight_decay"], seed, "test")
        for seed in range(1, protocol.seeds + 1)
    ]


def best_of(results: list[dict]) -> dict:
    """Return the result with the fewest steps, then the best accuracy."""
    return min(
        results,
        key=lambda r: (r["steps_to_target"] or math.inf, -r["accuracy"]),
    )


class Log:
    """The finished trials of a race, as lines of a file.

    Args:
        file: read where it exists, begun where it does not.
        protocol: of the race.

    Raises:
        UserError: the file is of another protocol, or no race's.
    """

    def __init__(self, file: Path, protocol: Protocol):
        self.file = Path(file)
        self.head, self.results = read(self.file)
        expected = json.loads(json.dumps(asdict(protocol)))
        if self.head is None:
            self.head = {
                "protocol": expected,
                "machine": machine(),
                "versions": versions(),
            }
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._write(self.head)
        elif self.head["protocol"] != expected:
            raise UserError(f"{file}: holds a race of another protocol.")
        else:
            # Cuts off what a stopped process left of its last line.
            lines = [self.head, *self.results]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            write_atomically(self.file, text)

    def find(self, trial: Trial) -> dict | None:
        """Return a trial's result, if it has run."""
        key = asdict(trial).items()
        return next((r for r in self.results if key <= r.items()), None)

    def add(self, result: dict) -> None:
        """Append a finished trial."""
        self.results.append(result)
        self._write(result)

    def _write(self, line):
        with self.file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def read(file: Path) -> tuple[dict | None, list[dict]]:
    """Return the head and the results of a race's file.

    A last line that a stopped process left unfinished does not count.

    Raises:
        UserError: the file is no race's.
    """
    if not file.is_file() or not file.stat().st_size:
        return None, []
    whole, _, _ = file.read_text().rpartition("\n")
    try:
        head, *results = [json.loads(line) for line in whole.splitlines()]
        head["protocol"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: is no race of optimizers.") from error
    return head, results


def _run(pool, log, trials, console):
    todo = [trial for trial in trials if log.find(trial) is None]
    futures = [pool.submit(_work, trial) for trial in todo]
    for i, future in enumerate(as_completed(futures), start=1):
        result = future.result()
        log.add({**result, "commit": commit()})
        if console is not None:
            console.print(
                f"{i}/{len(todo)} {result['optimizer']} "
                f"{result['learning_rate']:g} {result['weight_decay']:g} "
                f"{result['split']} {result['seed']}: "
                f"{result['steps_to_target']} steps, "
                f"{result['accuracy']:.2%}",
                highlight=False,
            )


_trainer = None


def _start_worker(protocol, data_dir):
    global _trainer
    import tensorflow as tf

    # One thread each: as fast in all as sharing them, and processor time is
    # then a fair clock on a machine that does other work too.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    _trainer = Trainer(protocol, data_dir)


def _work(trial):
    return _trainer.run(trial)


def _between(bounds, share):
    low, high = map(math.log, bounds)
    return math.exp(low + share * (high - low))


def _van_der_corput(index):
    value, scale = 0.0, 0.5
    while index:
        value += scale * (index & 1)
        index >>= 1
        scale /= 2
    return value
