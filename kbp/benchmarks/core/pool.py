"""The processes that run the trials of a race."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import Any

from rich.console import Console

from kbp.benchmarks.core.log import Log, find
from kbp.errors import UserError


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
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(create, *arguments),
    ) as pool:
        try:
            yield pool
        except BaseException:
            # What runs or is planned would go on, and nobody would log it.
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


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

    Raises:
        UserError: trials failed by such errors; the others ran.
        RuntimeError: trials failed by any errors; the others ran.
    """
    todo = [trial for trial in trials if find(log.results, trial) is None]
    futures = {pool.submit(_work, trial): trial for trial in todo}
    failed: list[tuple[Any, Exception]] = []
    for i, future in enumerate(as_completed(futures), start=1):
        try:
            result = future.result()
        except Exception as error:
            failed.append((futures[future], error))
            line = f"{futures[future]}: {error!r}"
        else:
            log.add(result)
            line = describe(result)
        if console is not None:
            console.print(
                f"{i}/{len(todo)} {line}", markup=False, highlight=False
            )
    if failed:
        _raise_together(failed, len(todo))


def _raise_together(failed: list[tuple[Any, Exception]], count: int) -> None:
    """Raise one error that says of each failed trial why it failed."""
    errors = [error for _, error in failed]
    users = all(isinstance(error, UserError) for error in errors)
    trials: dict[str, list[str]] = {}
    for trial, error in failed:
        why = str(error) if users else repr(error)
        trials.setdefault(why, []).append(str(trial))
    words = "; ".join(f"{', '.join(x)}: {why}" for why, x in trials.items())
    message = f"{len(failed)} of {count} trials failed: {words}"
    if users:
        raise UserError(message)
    raise RuntimeError(message) from ExceptionGroup("of trials", errors)


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
