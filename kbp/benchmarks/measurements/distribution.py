"""Steps a second on several devices and workers, and a soak.

The devices are logical ones of the same processor, which share its cores: the
figures say what distribution costs, not what it gains.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from kbp import data
from kbp.benchmarks.core.log import measure_cases, provenance, read_cases
from kbp.errors import UserError
from kbp.optimizers import HybridOptimizer
from kbp.training import distribution

RESULTS = Path(__file__).parent.parent / "results" / "distribution.jsonl"
read = read_cases
SOAK = "soak"
# Devices of a process, and processes.
CASES = {
    "one device": (1, 1),
    "2 devices": (2, 1),
    "4 devices": (4, 1),
    "2 workers": (1, 2),
    SOAK: (1, 1),
}
BATCH_SIZE, STEPS, TOGETHER = 64, 33, 8
# 64 epochs of 161 steps.
SOAK_SETTINGS = (
    *("data.image_size=8", "model.width=8", "model.num_scales=2"),
    *("training.batch_size=8", "training.epochs=64"),
    *("quantization.epochs=1", "export.benchmark_rounds=1"),
)
KERAS = "AdamW (Keras)"


def _adam():
    return keras.optimizers.AdamW(1e-3, amsgrad=True)


# How to make the optimizer, whether Keras is mended, and steps at a time.
VARIANTS = {
    KERAS: (_adam, False, 1),
    "AdamW, seeds of dropout vary": (_adam, True, 1),
    "HybridOptimizer": (HybridOptimizer, True, 1),
    f"HybridOptimizer, {TOGETHER} steps at once": (
        HybridOptimizer,
        True,
        TOGETHER,
    ),
}


def race(
    file: Path,
    *,
    names: Iterable[str] = (),
    rounds: int = 30,
    console: Console | None = None,
) -> list[dict]:
    """Measure cases, by default all, and append a line for each to a file.

    Returns:
        The lines.

    Raises:
        UserError: a name is unknown, or a process failed.
    """

    def measured(case):
        return {"rounds": rounds, **_measured(case, rounds)}

    def show(line):
        if console is not None:
            console.print(markdown_table([line]), markup=False)

    return measure_cases(file, names, CASES, measured, show)


def _measured(case, rounds):
    """Measure a case in processes of its own; return what the first says."""
    if case == SOAK:
        return soak()
    _, count = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ("-m", __name__, case, rounds, folder / "{}")
        _finish(case, folder, start_workers(folder, words, count))
        return json.loads((folder / "0").read_text())


def start_workers(
    folder: Path, words: Iterable, count: int
) -> list[subprocess.Popen]:
    """Start Python processes on this machine that know of each other.

    Args:
        folder: where each writes what it says, to `INDEX.log`.
        words: of the command line, in which `{}` is the worker's index.
        count: of the workers; one alone has no TF_CONFIG.

    Returns:
        The processes.
    """
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    hosts = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("TF_CONFIG", None)
    processes = []
    for index in range(count):
        if count > 1:
            config = {
                "cluster": {"worker": hosts},
                "task": {"type": "worker", "index": index},
            }
            environment["TF_CONFIG"] = json.dumps(config)
        with (folder / f"{index}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *(str(word).format(index) for word in words)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        processes.append(process)
    return processes


def _finish(case, folder, processes):
    """Wait for all workers; say what the first that failed said last."""
    statuses = [process.wait() for process in processes]
    for index, status in enumerate(statuses):
        if status:
            log = (folder / f"{index}.log").read_text().strip()
            raise UserError(f"{case}: failed: {log.rpartition(chr(10))[2]}")


def speeds(case: str, rounds: int) -> dict:
    """Measure steps a second of all variants, in turns.

    Returns:
        `figures`: for each variant its `median` and `quartiles`, and `ratio`,
        the median of a step's time relative to Keras's own in the same round.
    """
    devices, workers = CASES[case]
    if workers > 1:
        strategy = distribution.create_strategy("multi_worker")
    elif devices > 1:
        strategy = distribution.create_strategy("mirrored")
    else:
        strategy = distribution.create_strategy("one_device")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(512, 16, 16, 3)).astype("float32")
    examples = data.Examples(images, rng.integers(0, 10, 512))
    batches = data.training_batches(examples, BATCH_SIZE, seed=0)
    fits = {name: _fit(strategy, batches, *VARIANTS[name]) for name in VARIANTS}
    taken = {name: [] for name in fits}
    for i in range(rounds + 1):
        for name, fit in fits.items():
            seconds = fit()
            if i:  # the first round traces
                taken[name].append(seconds)
    usual = taken[KERAS]
    return {
        "figures": {
            name: {
                "median": 1 / statistics.median(values),
                "quartiles": np.percentile(
                    1 / np.array(values), (25, 75)
                ).tolist(),
                "ratio": statistics.median(
                    a / b for a, b in zip(values, usual, strict=True)
                ),
            }
            for name, values in taken.items()
        }
    }


def _fit(strategy, batches, make_optimizer, mended, together):
    """Return what fits some steps and returns the seconds of one."""
    layers = keras.layers
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Conv2D(32, 3),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(10),
            ]
        )
        model.compile(
            make_optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=together,
        )
    if mended:
        distribution.prepare(model, steps_per_execution=together)

    def fit():
        clock = _Clock()
        model.fit(
            batches,
            steps_per_epoch=together * (1 + STEPS // together),
            callbacks=[clock],
            shuffle=False,
            verbose=0,
        )
        return clock.seconds()

    return fit


class _Clock(keras.callbacks.Callback):
    """Looks at the time after each execution of steps."""

    def on_train_begin(self, logs=None):
        self.times, self.steps = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())
        self.steps.append(batch)

    def seconds(self):
        span = self.times[-1] - self.times[0]
        return span / (self.steps[-1] - self.steps[0])


def soak() -> dict:
    """Train a recipe for some 10,000 steps and watch its process.

    Returns:
        `steps`, and once a second of the training, `memory` in bytes, open
        `files` and `threads`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        sets = [
            word for setting in SOAK_SETTINGS for word in ("--set", setting)
        ]
        words = ("-m", "kbp", "train", "--workdir", run, *sets)
        (process,) = start_workers(folder, words, 1)
        seen, steps = [], 0
        while process.poll() is None:
            time.sleep(1)
            names = [f.name for f in run.glob("checkpoints/*.keras")]
            if any(name.startswith("quantize") for name in names):
                break
            if names:
                steps = max(int(name.split("-")[1]) for name in names)
                seen.append(_held(process.pid))
        _finish(SOAK, folder, [process])
    memory, files, threads = zip(*filter(None, seen), strict=True)
    return {
        "steps": steps,
        "memory": memory,
        "files": files,
        "threads": threads,
    }


def _held(pid):
    """Return what a process holds, `None` if it is gone."""
    process = Path("/proc") / str(pid)
    try:
        lines = (process / "status").read_text().splitlines()
        files = len(list((process / "fd").iterdir()))
    except OSError:
        return None
    status = dict(line.split(":", 1) for line in lines)
    memory = int(status["VmRSS"].split()[0]) * 1024
    return memory, files, int(status["Threads"])


def growth(values: list[float]) -> float:
    """Return by what share the last fifth's median exceeds the second's."""
    fifth = max(1, len(values) // 5)
    first = statistics.median(values[fifth : 2 * fifth])
    return statistics.median(values[-fifth:]) / first - 1


def markdown_table(lines: list[dict]) -> str:
    """Return lines of `race` as Markdown: a table, and how it was measured."""
    text = [
        "| on | variant | steps/s | a step's time |",
        "| --- | --- | ---: | ---: |",
    ]
    for line in lines:
        for name, figure in line.get("figures", {}).items():
            low, high = figure["quartiles"]
            text.append(
                f"| {line['case']} | {name} | {figure['median']:.1f} "
                f"({low:.1f} - {high:.1f}) | {figure['ratio']:.2f} |"
            )
    text += [
        "",
        f"Steps of {BATCH_SIZE} images of 16x16 in all, with two convolutions; "
        f"medians and quartiles of {lines[0]['rounds']} rounds in which the "
        "variants take turns; a step's time relative to that of "
        f"{KERAS} in the same round. Devices and workers share the processor's "
        "cores, so this is what distribution costs. For workers Keras runs "
        "with kbp's mend of the strategy, without which it fails; on one "
        "device nothing is mended. " + provenance(lines[0], lines),
    ]
    for line in lines:
        if line["case"] == SOAK:
            files, threads = set(line["files"]), set(line["threads"])
            text += [
                "",
                f"A run of {line['steps']:,} steps, watched once a second: "
                f"memory grows by {growth(line['memory']):.1%} from its second "
                f"fifth to its last, open files by {growth(line['files']):.0%} "
                f"({min(files)} to {max(files)}), threads by "
                f"{growth(line['threads']):.0%} ({min(threads)} to "
                f"{max(threads)}).",
            ]
    return "\n".join(text)


def main(case: str, rounds: str, file: str) -> None:
    """Measure in this process, with the devices of a case."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * CASES[case][0],
    )
    Path(file).write_text(json.dumps(speeds(case, int(rounds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
