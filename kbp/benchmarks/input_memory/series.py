"""Peak memory of a training on many series of one file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp._utils.files import append, temporary_folder
from kbp.benchmarks.input_memory.runs import run_twice

COUNT, ROWS = 200_000, 60
_TOGETHER = 2000  # series that are written at a time
_NETWORK: dict[str, dict[str, Any]] = {
    "model": {
        "architecture": "bp_transformer",
        "num_layers": 1,
        "width": 8,
        "num_heads": 1,
        "patch_size": 6,
    },
    "training": {"epochs": 1, "batch_size": 4096},
}


def measure(form: str, mode: str, *, count: int = COUNT) -> dict:
    """Train a small network for an epoch, in a process of its own.

    Args:
        form: of the file, "csv" or "parquet".
        mode: `data.cache` of the recipe.
        count: number of series.

    Returns:
        `examples`, in words, and what `run_twice` returns.

    Raises:
        UserError: the training failed.
    """
    with temporary_folder() as folder:
        file = folder / f"series.{form}"
        write(file, count)
        section: dict[str, Any] = {
            "name": "csv_series",
            "file": str(file),
            "time_column": "time",
            "id_column": "site",
            "target": ["load"],
            "lookback": 36,
            "horizon": 6,
            "validation_fraction": 0.1,
            "test_fraction": 0.1,
            "cache": mode,
        }
        size = file.stat().st_size / 1e6
        kind = {"csv": "CSV", "parquet": "Parquet"}[form]
        return {
            "examples": f"{count:,} series of {ROWS} rows in a {kind} file of "
            f"{size:,.0f} MB",
            **run_twice({"data": section, **_NETWORK}, folder),
        }


def write(file: Path, count: int, *, seed: int = 0) -> None:
    """Write series of waves and noise, one behind the other.

    Args:
        file: a new one, `.csv` or `.parquet`.
        count: number of series.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    times = pd.date_range("2024-01-01", periods=ROWS, freq="h")
    shown = times.strftime("%Y-%m-%d %H:%M")

    def part(first: int) -> pd.DataFrame:
        sites = np.arange(first, min(first + _TOGETHER, count))
        waves = 10 * np.sin(np.arange(ROWS) / 4 + sites[:, None])
        return pd.DataFrame(
            {
                "time": np.tile(shown, len(sites)),
                "site": np.repeat([f"site {x:07d}" for x in sites], ROWS),
                "load": (100 + waves + rng.normal(size=waves.shape))
                .round(3)
                .ravel(),
            }
        )

    parts = map(part, range(0, count, _TOGETHER))
    if file.suffix == ".csv":
        for number, rows in enumerate(parts):
            text = rows.to_csv(index=False, header=not number)
            append(file, text.encode())
        return
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.Schema.from_pandas(part(0))
    with parquet.ParquetWriter(file, schema) as writer:
        for rows in parts:
            writer.write_table(pyarrow.Table.from_pandas(rows, schema))
