"""Small models with the files that say what they mean."""

import csv
import io
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd

from kbp import export
from kbp.data.table import Column, TableColumns

RNG = np.random.default_rng(0)
ALONE = """
import runpy, sys
for name in ("kbp", "tensorflow", "keras", "pandas", "scipy"):
    sys.modules[name] = None
sys.path.insert(0, ".")
runpy.run_path("predict.py", run_name="__main__")
"""
FEATURES = (
    Column("mass", mean=2.0, deviation=1.0),
    Column("city", ("Bonn", "Kiel, Ost", "Ulm")),
    Column("count", mean=5.0, deviation=2.0),
)


def dense(folder, taken, given):
    """Write a .tflite file whose weights differ."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(taken)
    x = keras.layers.Flatten()(inputs) if len(taken) > 1 else inputs
    x = keras.layers.Dense(int(np.prod(given)))(x)
    outputs = keras.layers.Reshape(given)(x) if len(given) > 1 else x
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.tflite"
    export.to_tflite(keras.Model(inputs, outputs), path)
    return path


def table(folder, classes=("low", "high", 'a "b"')):
    """Write a model of a table, and a file of rows."""
    path = dense(folder, (3,), (max(1, len(classes)),))
    columns = TableColumns(FEATURES, Column("kind", classes), "mean", ("?",))
    (folder / "columns.json").write_text(columns.to_json())
    frame = pd.DataFrame(
        {
            "other": range(5),
            "count": [1.5, 2, 3, 4, 5],
            "city": ["Ulm", "Kiel, Ost", "", "Rome", "Bonn"],
            "mass": ["1", "-7.5", "?", "", "3e1"],
        }
    )
    frame.to_csv(folder / "rows.csv", index=False)
    return path


def series(folder):
    """Write a forecaster of two columns at once, and a file of three."""
    path = dense(folder, (12, 2), (4, 2))
    values = RNG.normal(size=(20, 3)) * [1, 50, 0.1] + [0, 1000, -3]
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    frame.insert(0, "date", pd.date_range("2026-01-01", periods=20, freq="h"))
    frame.to_csv(folder / "rows.csv", index=False)
    facts = {
        "channels": ["a", "c"],
        "targets": ["a", "c"],
        **{
            key: []
            for key in (
                "past_covariates",
                "future_covariates",
                "calendar",
                "static",
            )
        },
        "by_channel": False,
        "lookback": 12,
        "horizon": 4,
        "step": "",
        "zone": "",
        "mean": [0, -3],
        "deviation": [1, 0.1],
    }
    (folder / "series.json").write_text(pd.Series(facts).to_json())
    return path


def fake_node_modules(tmp_path, monkeypatch):
    """Let the target web find files that are there but empty of code."""
    from kbp.export.runtimes.litertjs import PACKAGES

    folder = tmp_path / "node_modules"
    for name in PACKAGES.values():
        path = folder / "@litertjs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nothing")
    monkeypatch.setenv("KBP_NODE_MODULES", str(folder))


def alone(folder, *words):
    """Return the rows that a folder's script prints."""
    environment = {**os.environ, "PYTHONPATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    return [*csv.reader(io.StringIO(result.stdout))]
