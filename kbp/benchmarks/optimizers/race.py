"""Optimizers raced to a target accuracy, each tuned with the same budget."""

import functools
import math
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.core.log import Log, find, read_race, run, worker_pool
from kbp.benchmarks.optimizers.contestants import contestants
from kbp.benchmarks.optimizers.trial import Protocol, Trainer, Trial
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results" / "optimizers.jsonl"
read = functools.partial(read_race, protocol=Protocol)


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
    check_known("optimizer", names, contestants())
    Trainer(protocol, data_dir)  # missing data is said here, not by a worker
    log = Log(file, protocol)
    with worker_pool(workers, Trainer, protocol, data_dir) as pool:
        for name in names:
            run(pool, log, search(name, protocol), _describe, console)
            run(pool, log, finals(name, protocol, log), _describe, console)
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


def finals(name: str, protocol: Protocol, log: Log) -> list[Trial]:
    """Return the trials at an optimizer's best point, with new seeds."""
    best = best_of([find(log.results, t) for t in search(name, protocol)])
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


def _describe(result):
    return (
        f"{result['optimizer']} {result['learning_rate']:g} "
        f"{result['weight_decay']:g} {result['split']} {result['seed']}: "
        f"{result['steps_to_target']} steps, {result['accuracy']:.2%}"
    )


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
