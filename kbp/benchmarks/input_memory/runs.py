"""Runs of a recipe in processes of their own, and what memory they take."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kbp._utils.files import write_atomically
from kbp.errors import UserError
from kbp.recipes import Recipe

_SHORT: dict[str, dict[str, Any]] = {
    "quantization": {"enabled": False},
    "sparsity": {"target": 0.0},
    "export": {"benchmark_rounds": 1},
}


def run_twice(recipe: dict[str, dict[str, Any]], folder: Path) -> dict:
    """Train with a recipe where nothing is kept yet, and then once more.

    Args:
        recipe: its sections for the data, the model and its training.
        folder: for the runs and the cache.

    Returns:
        `memory`, the peak in bytes; `first` and `again`, seconds of the whole
        run where no cache is there yet, and where one is.

    Raises:
        UserError: the training failed.
    """
    text = Recipe.parse({**recipe, **_SHORT}).to_toml()
    file = write_atomically(folder / "recipe.toml", text)
    taken, peaks = [], []
    for name in ("first", "again"):
        start = time.perf_counter()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "kbp", "train", file),
                *("--workdir", folder / name),
            ],
            env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise UserError(done.stderr.strip().rpartition("\n")[2])
        taken.append(time.perf_counter() - start)
        found = json.loads((folder / name / "run.json").read_text())
        peaks.append(found["peak_memory_bytes"])
    first, again = taken
    return {"memory": max(peaks), "first": first, "again": again}
