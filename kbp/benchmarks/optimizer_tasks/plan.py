"""The trials of each task: a search of each optimizer, then several seeds."""

import math
from collections.abc import Iterator

from kbp.benchmarks.core.log import find_all
from kbp.benchmarks.optimizer_tasks.contestants import CONTESTANTS
from kbp.benchmarks.optimizer_tasks.tasks import TASKS
from kbp.benchmarks.optimizer_tasks.trial import Protocol, Trial
from kbp.benchmarks.optimizers.plan import points


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the searches of a task, then the trials at the best points.

    Args:
        names: of the tasks; a large one runs if it is the only one.
        protocol: of the race.
        results: which hold those of the searches when the trials after them
            are asked for.
    """
    for name in names:
        if TASKS[name].large and len(names) > 1:
            continue
        yield [t for x in CONTESTANTS for t in search(name, x, protocol)]
        yield [
            t for x in CONTESTANTS for t in finals(name, x, protocol, results)
        ]


def search(task: str, optimizer: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of an optimizer's search."""
    found = points(CONTESTANTS[optimizer], protocol.decays, protocol.trials)
    return [
        Trial(task, optimizer, rate, decay, seed=0, split="validation")
        for rate, decay in found
    ]


def finals(
    task: str, optimizer: str, protocol: Protocol, results: list[dict]
) -> list[Trial]:
    """Return the trials at an optimizer's best point, with new seeds."""
    searched = find_all(results, search(task, optimizer, protocol))
    if len(searched) < protocol.trials:
        return []
    best = best_of(searched)
    rate, decay = best["learning_rate"], best["weight_decay"]
    return [
        Trial(task, optimizer, rate, decay, seed, "test")
        for seed in range(1, protocol.seeds + 1)
    ]


def best_of(results: list[dict]) -> dict:
    """Return the result with the fewest steps, then the best score."""
    return min(
        results,
        key=lambda r: (
            r["steps_to_target"] or math.inf,
            badness(r["task"], r["score"]),
        ),
    )


def badness(task: str, score: float) -> float:
    """Return a number that is higher for a worse score, `inf` for NaN."""
    if not math.isfinite(score):
        return math.inf
    return -score if TASKS[task].higher else score


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['task']}, {result['optimizer']} "
        f"{result['learning_rate']:g} {result['weight_decay']:g} "
        f"{result['split']} {result['seed']}: {result['steps_to_target']} "
        f"steps, {result['score']:.4g}"
    )
