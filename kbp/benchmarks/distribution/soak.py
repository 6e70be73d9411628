"""A training of some 10,000 steps whose process is watched."""

import statistics
import time
from pathlib import Path

from kbp._utils.files import temporary_folder
from kbp.benchmarks.distribution.workers import finish, start_workers

SOAK = "soak"
# 64 epochs of 161 steps.
SOAK_SETTINGS = (
    *("data.image_size=8", "model.width=8", "model.num_scales=2"),
    *("training.batch_size=8", "training.epochs=64"),
    *("quantization.epochs=1", "export.benchmark_rounds=1"),
)


def soak() -> dict:
    """Train a recipe for some 10,000 steps and watch its process.

    Returns:
        `steps`, and once a second of the training, `memory` in bytes, open
        `files` and `threads`.
    """
    with temporary_folder() as folder:
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
        finish(SOAK, folder, [process])
    memory, files, threads = zip(*filter(None, seen), strict=True)
    return {
        "steps": steps,
        "memory": memory,
        "files": files,
        "threads": threads,
    }


def _held(pid):
    """Return memory, open files and threads of a process, if it still runs."""
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
