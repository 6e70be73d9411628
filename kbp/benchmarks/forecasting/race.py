"""Forecasts of long horizons, raced under one protocol."""

import functools
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from kbp.benchmarks.core.log import Log, find, read_race, run, worker_pool
from kbp.benchmarks.forecasting.methods import METHODS
from kbp.benchmarks.forecasting.trial import Protocol, Trainer, Trial
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results" / "forecasting.jsonl"
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
    """Choose each method's look-back and learning rate, then fit with seeds.

    They are chosen for each data set on its validation windows, at the
    shortest horizon. Each finished fit is a line of the file and is not run
    again, so a race can be stopped and taken up at any time.

    Args:
        file: JSON lines; the first holds the protocol, machine and versions.
        protocol: what all trainings have in common; by default `Protocol()`.
        names: of the methods that race now, by default all.
        data_dir: the folder that holds the sets.
        workers: fits at a time, of one thread each.
        console: where progress goes.

    Returns:
        The fits, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, or a data
            set is missing.
    """
    protocol = protocol or Protocol()
    names = list(names or METHODS)
    check_known("method", names, METHODS)
    Trainer(protocol, data_dir)  # missing data are said here, not by a worker
    log = Log(file, protocol)
    with worker_pool(workers, Trainer, protocol, data_dir) as pool:
        for name in names:
            run(pool, log, search(name), _describe, console)
            trials = finals(name, protocol, log.results)
            run(pool, log, trials, _describe, console)
    return log.results


def search(name: str) -> list[Trial]:
    """Return a method's trials of look-backs and learning rates."""
    method = METHODS[name]
    trials = []
    for data, horizon in _shortest(method):
        candidates = [
            Trial(name, data, horizon, lookback, rate, seed=0)
            for lookback in method.lookbacks(data)
            for rate in method.learning_rates
        ]
        trials += candidates if len(candidates) > 1 else []
    return trials


def finals(name: str, protocol: Protocol, results: list[dict]) -> list[Trial]:
    """Return a method's trials with what the search has found best.

    Args:
        name: of the method.
        protocol: of the race.
        results: which hold those of the search.
    """
    method = METHODS[name]
    trials = []
    for data, horizon in method.cases:
        lookback, rate = best_of(name, data, results)
        trials += [
            Trial(name, data, horizon, lookback, rate, seed)
            for seed in range((method.seeds or protocol.seeds) if rate else 1)
        ]
    return trials


def best_of(name: str, data: str, results: list[dict]) -> tuple[int, float]:
    """Return the look-back and learning rate that are best on validation."""
    method = METHODS[name]
    tried = [t for t in search(name) if t.data == data]
    if not tried:
        (lookback,), (rate,) = method.lookbacks(data), method.learning_rates
        return lookback, rate
    found = [find(results, trial) for trial in tried]
    if 0.0 in method.learning_rates:
        # A training that keeps its start is no better than none.
        found = [r for r in found if r["kept"] or not r["learning_rate"]]
    best = min(found, key=lambda result: result["validation"])
    return best["lookback"], best["learning_rate"]


def _shortest(method):
    """Return each data set with the shortest horizon it is raced on."""
    shortest: dict[str, int] = {}
    for data, horizon in method.cases:
        shortest[data] = min(horizon, shortest.get(data, horizon))
    return shortest.items()


def _describe(result):
    return (
        f"{result['data']} {result['horizon']}, {result['method']} "
        f"{result['lookback']} {result['learning_rate']:g}, {result['seed']}: "
        f"MSE {result['mse']:.4f}"
    )
