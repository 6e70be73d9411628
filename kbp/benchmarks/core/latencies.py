"""Latencies of the .tflite files that the trials of a race export."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp import export, quantization
from kbp._utils.machine import sets_in_words
from kbp.benchmarks.core.log import Log
from kbp.errors import UserError


def latencies(results: list[dict]) -> dict[str, list[float]]:
    """Return the latencies that a race measured last.

    Args:
        results: of a `Log`.

    Returns:
        For each .tflite file first quartile, median and third quartile of the
        milliseconds of one call.
    """
    found = [r["latency"] for r in results if "latency" in r]
    return found[-1] if found else {}


def row_of(
    seeds: list[dict], measured: dict[str, list[float]], *keys: str
) -> dict[str, Any]:
    """Return what the seeds of a trial have in common.

    Args:
        seeds: results of a race's trials that differ in their seed alone.
        measured: see `latencies`.
        *keys: of results, of which the row is to hold the medians.

    Returns:
        `accuracies` of the seeds; the medians; and, of trials with .tflite
        files, `float32` and `int8`, with medians of `bytes`, of `milliseconds`
        if they were measured, and of int8 `accuracies` of the seeds.
    """
    row: dict[str, Any] = {"accuracies": [r["accuracy"] for r in seeds]}
    for key in keys:
        row[key] = statistics.median(r[key] for r in seeds)
    for dtype in ("float32", "int8") if "files" in seeds[0] else ():
        files = [r["files"][dtype] for r in seeds]
        row[dtype] = {"bytes": statistics.median(f["bytes"] for f in files)}
        if all(f["name"] in measured for f in files):
            row[dtype]["milliseconds"] = statistics.median(
                measured[f["name"]][1] for f in files
            )
        if dtype == "int8":
            row[dtype]["accuracies"] = [f["accuracy"] for f in files]
    return row


def timed_on(head: dict, results: list[dict]) -> str:
    """Return processor and instructions of a race's last latencies.

    Args:
        head: of a `Log`.
        results: of the same.
    """
    timed = [head, *(r for r in results if "latency" in r)]
    last = timed[-1].get("machine", head["machine"])
    return f"{last['processor']} ({sets_in_words(last)})"


def exported_files(result: dict) -> list[str]:
    """Return the names in a result's `files`, which has one of each dtype."""
    return [exported["name"] for exported in result.get("files", {}).values()]


def stored_network(trainer: Any, result: dict) -> keras.Model:
    """Return the network of a result that holds its config as JSON."""
    model: keras.Model = keras.models.model_from_json(result["network"])
    return model


@dataclass(frozen=True)
class Files:
    """The .tflite files that the trials of a race export.

    Attributes:
        names: `names(result)` returns the names of a result's files.
        network: `network(trainer, result)` returns the network of a result,
            of which missing files are exported again; without it they are an
            error.
    """

    names: Callable[[dict], list[str]] = exported_files
    network: Callable[[Any, dict], keras.Model] | None = None

    def measure(
        self, log: Log, folder: Path, trainer: Any, rounds: int, again: bool
    ) -> None:
        """Measure all files in turns at one thread, and log it as one line.

        Args:
            log: of the race.
            folder: of the files.
            trainer: of the race, as `network` takes it.
            rounds: of the measurement.
            again: whether to measure although all latencies are known.

        Raises:
            UserError: a file is missing.
        """
        timed = [r for r in log.results if "latency" not in r and self.names(r)]
        names = [name for result in timed for name in self.names(result)]
        known = latencies(log.results).keys() >= {*names}
        if not names or (known and not again):
            return
        if self.network is not None:
            for result in timed:
                _export_missing(self.network, folder, trainer, result)
        for name in names:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name}: missing. Race into a new file."
                )
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


def _export_missing(network, folder, trainer, result):
    paths = {d: folder / f["name"] for d, f in result["files"].items()}
    if not all(path.is_file() for path in paths.values()):
        export_untrained(network(trainer, result), paths)


def export_untrained(model: keras.Model, paths: dict[str, Path]) -> None:
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
