"""Latency of .tflite files, measured in turns."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbp._utils.arguments import check_integer
from kbp.export.interpreter import Runner
from kbp.export.latency.inputs import random_values


@dataclass(frozen=True)
class Latency:
    """The time of one call of a .tflite file, in milliseconds.

    Attributes:
        path: path of the file.
        size: size of the file, in bytes.
        num_threads: number of threads of XNNPACK.
        median: median over the rounds.
        low: first quartile.
        high: third quartile.
        rounds: number of rounds.

    Example:
    >>> import kbp
    >>> kbp.export.Latency("a.tflite", 1024, 1, 0.2, 0.1, 0.3, 30).median
    0.2
    """

    path: str
    size: int
    num_threads: int
    median: float
    low: float
    high: float
    rounds: int


def benchmark(
    paths: Sequence[str | Path],
    *,
    num_threads: int | Sequence[int] = 1,
    rounds: int = 30,
    seconds: float = 0.02,
    seed: int = 0,
) -> list[Latency]:
    """Measure files in turns, so that a busy machine slows all of them alike.

    Each round runs every file for a few calls, one file after the other; a
    file's figure is the median over the rounds of the mean call.

    Args:
        paths: paths of .tflite files.
        num_threads: number of threads of XNNPACK, or several such numbers.
        rounds: number of measured rounds, after one to warm up.
        seconds: time that one file runs in one round; it runs at least once.
        seed: seed of the random inputs.

    Returns:
        One `Latency` for each path and number of threads, path by path.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: LiteRT does not run a file, or an argument is out of range.

    Example:
    >>> import keras, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     (latency,) = kbp.export.benchmark([path], rounds=3, seconds=1e-3)
    >>> 0 < latency.low <= latency.median <= latency.high
    True
    """
    if isinstance(paths, str | Path):
        raise ValueError(
            f"Argument `paths` must be a list. Received: paths={paths!r}"
        )
    threads = [num_threads] if isinstance(num_threads, int) else num_threads
    check_integer(rounds=rounds)
    settings = [(path, count) for path in paths for count in threads]
    runners = [Runner(path, num_threads=count) for path, count in settings]
    inputs = [_random_inputs(runner, seed) for runner in runners]
    calls = []
    for runner, x in zip(runners, inputs, strict=True):
        _time(runner, x, 3)
        once = _time(runner, x, 3)
        calls.append(max(1, round(seconds / once)))
    times = np.array(
        [
            [
                _time(runner, x, count)
                for runner, x, count in zip(runners, inputs, calls, strict=True)
            ]
            for _ in range(rounds + 1)
        ][1:]
    )  # (rounds, files)
    low, median, high = np.quantile(1000 * times, [0.25, 0.5, 0.75], axis=0)
    return [
        Latency(
            str(path),
            Path(path).stat().st_size,
            num_threads=count,
            median=float(median[i]),
            low=float(low[i]),
            high=float(high[i]),
            rounds=rounds,
        )
        for i, (path, count) in enumerate(settings)
    ]


def _time(runner: Runner, inputs: Sequence[np.ndarray], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        runner.run(inputs)
    return (time.perf_counter() - start) / calls


def _random_inputs(runner: Runner, seed: int) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    return runner.quantize_inputs(
        [random_values(x, generator) for x in runner.inputs]
    )
