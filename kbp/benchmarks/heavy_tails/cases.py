"""Forecasts of heavy-tailed series: float32 files against eight bits."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from rich.console import Console

from kbp import export, quantization
from kbp._utils.files import temporary_folder, write_atomically
from kbp._utils.run_files import FLOAT32, INT8, MODEL
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.heavy_tails import series
from kbp.inference import loading
from kbp.models.bp_transformer import LINEAR_SKIP
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.tasks.forecasting import Forecasting
from kbp.training.runs import run

INT16 = "int16 skip"  # the linear skip alone has 16 bits
LOOKBACK, HORIZON = 1008, 96
# Networks by what is in them, with the layers that are in float beside INT16.
NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {"model": {"num_layers": 0}, "epochs": 0, "skip": []},
    "attention": {
        "model": {
            **{"num_layers": 2, "width": 32, "num_heads": 1, "dropout": 0.2},
            **{"patch_size": 24, "attention_lookback": 168},
        },
        "epochs": 2,
        "skip": ["sum"],
    },
}
CASES = {
    f"{name}, {network}": (name, network)
    for network in NETWORKS
    for name in series.SERIES
}


def recipe_of(network: str, file: Path) -> Recipe:
    """Return the recipe of a network for a CSV file of a series."""
    chosen = NETWORKS[network]
    return Recipe.parse(
        {
            "model": {"architecture": "bp_transformer", **chosen["model"]},
            "data": {
                **{"name": "csv_series", "file": str(file)},
                **{"time_column": "time"},
                **{"lookback": LOOKBACK, "horizon": HORIZON},
            },
            "training": {
                "epochs": chosen["epochs"],
                "keep_best": bool(chosen["epochs"]),
            },
            "quantization": {"epochs": 0},
        }
    )


def measure(name: str, network: str, folder: Path, rounds: int) -> dict:
    """Train a series' forecast, and round it in two ways.

    Args:
        name: of the series.
        network: of `NETWORKS`.
        folder: for the files.
        rounds: of the latencies.

    Returns:
        For float32, int8 and `INT16`: `mse` of standardized values on the test
        windows, `column`, the largest share that a column's MSE is above that
        of float32, `bytes` of the file and `milliseconds` for an example.
    """
    file = folder / "series.csv"
    write_atomically(file, _csv(series.make(name)))
    recipe = recipe_of(network, file)
    run(recipe, folder / "run", console=Console(file=io.StringIO()))
    task = cast(Forecasting, make_task(recipe))
    wide = folder / "int16.tflite"
    quantized = quantization.quantize(
        loading.load_keras(folder / "run" / MODEL),
        task.calibration_batches(),
        int16=[LINEAR_SKIP],
        skip=NETWORKS[network]["skip"],
    )
    export.to_tflite(quantized, wide)
    files = {
        "float32": folder / "run" / FLOAT32,
        "int8": folder / "run" / INT8,
        INT16: wide,
    }
    inputs, labels = task.inputs("test"), task.splits.test.labels
    errors = {
        key: np.mean(
            np.square(export.Runner(path).predict(inputs) - labels), axis=(0, 1)
        )
        for key, path in files.items()
    }
    return {
        key: {
            "mse": float(error.mean()),
            "column": float((error / errors["float32"]).max() - 1),
            "bytes": latency.size,
            "milliseconds": latency.median,
        }
        for (key, error), latency in zip(
            errors.items(),
            export.benchmark([*files.values()], rounds=rounds),
            strict=True,
        )
    }


def _csv(values: np.ndarray) -> str:
    times = pd.date_range("2024-01-01", periods=len(values), freq="10min")
    names = [f"column{i}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names, index=times)
    return frame.to_csv(index_label="time", float_format="%.7g")


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["series, network", "file", "MSE", "above float32", "worst column"]
    return "\n".join(
        [
            *markdown.table(
                [*titles, "kB", "ms"], [r for x in lines for r in _rows(x)]
            ),
            "",
            f"{series.COLUMNS} columns and {series.ROWS:,} rows of synthetic "
            f"values, scales from {series.SCALES[0]:g} to "
            f"{series.SCALES[1]:g}; a BP-Transformer sees {LOOKBACK} rows and "
            f"forecasts {HORIZON}; its ranges are calibrated, not trained. MSE "
            "of standardized values, over all test windows. "
            f"{INT16}: with int16=['{LINEAR_SKIP}'], and with attention "
            "skip=['sum']. Latency of one example at one thread. "
            + provenance(lines[0], lines),
        ]
    )


def _rows(line: dict) -> Iterable[list[str]]:
    float32 = line["float32"]["mse"]
    for key in ("float32", "int8", INT16):
        found, same = line[key], key == "float32"
        yield [
            line["case"] if same else "",
            key,
            f"{found['mse']:.4f}",
            "" if same else f"{found['mse'] / float32 - 1:+.2%}",
            "" if same else f"{found['column']:+.2%}",
            f"{found['bytes'] / 1e3:.0f}",
            f"{found['milliseconds']:.2f}",
        ]


def _measured(name: str, rounds: int) -> dict:
    with temporary_folder() as folder:
        return measure(*CASES[name], Path(folder), rounds)


HEAVY_TAILS = register(
    Cases(
        name="heavy-tails",
        cases=CASES,
        measure=_measured,
        show=lambda line: "\n".join(map(markdown.row, _rows(line))),
        markdown_table=markdown_table,
    )
)
