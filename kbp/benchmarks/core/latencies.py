"""Latencies of the files that a race's trials have exported."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from kbp import export, quantization
from kbp.benchmarks.core.log import Log


def latencies(results: list[dict]) -> dict[str, list[float]]:
    """Return the last measurement of a race.

    Args:
        results: of a `Log`.

    Returns:
        For each .tflite file first quartile, median and third quartile of the
        milliseconds of one call.
    """
    found = [r["latency"] for r in results if "latency" in r]
    return found[-1] if found else {}


def processor(head: dict, results: list[dict]) -> str:
    """Return what a race's last measurement was made on.

    Args:
        head: of a `Log`.
        results: of the same.
    """
    timed = [head, *(r for r in results if "latency" in r)]
    return timed[-1].get("machine", head["machine"])["processor"]


def are_known(log: Log, names: Sequence[str]) -> bool:
    """Say whether the last measurement has figures of all these files."""
    return latencies(log.results).keys() >= {*names}


def measure(log: Log, folder: Path, names: Sequence[str], rounds: int) -> None:
    """Measure all files in turns at one thread, and log it as one line.

    Args:
        log: of the race.
        folder: of the files.
        names: of the files.
        rounds: of the measurement.
    """
    figures = export.benchmark(
        [folder / name for name in names], num_threads=1, rounds=rounds
    )
    log.add(
        {
            "latency": {
                name: [figure.low, figure.median, figure.high]
                for name, figure in zip(names, figures, strict=True)
            }
        }
    )


def rebuild(model: keras.Model, paths: dict[str, Path]) -> None:
    """Write a network's .tflite files with random weights.

    A latency does not depend on the weights.

    Args:
        model: the network, not quantized.
        paths: of the files, by dtype, `"float32"` or `"int8"`.
    """
    images = np.random.default_rng(0).random((8, *model.input_shape[1:]))
    for dtype, path in paths.items():
        exported = (
            quantization.quantize_aware(model, [images.astype("float32")])
            if dtype == "int8"
            else model
        )
        export.to_tflite(exported, path)
