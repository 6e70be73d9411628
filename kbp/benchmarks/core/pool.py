"""The processes that run the trials of a race."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import Any

from rich.console import Console

from kbp.benchmarks.core.log import Log, find


@contextlib.contextmanager
def worker_pool(
    count: int, create: Callable, *arguments
) -> Iterator[ProcessPoolExecutor]:
    """Yield processes of one thread, each with a trainer of its own.

    Args:
        count: number of processes.
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
            # After an interruption, the planned trials are not waited for.
            pool.shutdown(wait=False, cancel_futures=True)


def in_new_process(function: Callable, *arguments) -> Any:
    """Return what a function gives in a process of its own.

    Its memory is its own: what TensorFlow has taken, a process keeps.

    Args:
        function: of a module.
        *arguments: of it.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# NumPy's and others' threads, which begin before a worker could say so.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def run(
    pool: Executor,
    log: Log,
    trials: Iterable,
    describe: Callable[[dict], str],
    console: Console | None,
) -> None:
    """Run the trials that have no result yet, and log each as it finishes.

    Args:
        pool: of `worker_pool`.
        log: of the race.
        trials: dataclasses.
        describe: `describe(result) -> line` for the console.
        console: receives a line for each finished trial.
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


_trainer: Any = None


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
