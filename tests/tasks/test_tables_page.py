"""What docs/tables.md tells people to do works, from a CSV file to a device."""

import json
import re

import fresh
import numpy as np
import pandas as pd
import pytest

from kbp import export
from kbp.training import checkpoint

PAGE = (fresh.ROOT / "docs" / "tables.md").read_text()

# As a device would meet the rows of new.csv: what is missing is None or NaN.
EVERY_ROW = """
import csv

def told_of(text):
    try:
        return float(text)
    except ValueError:
        return text or None

with open("new.csv", encoding="utf-8") as file:
    rows = [
        {name: told_of(text) for name, text in row.items()}
        for row in csv.DictReader(file)
    ]
answers = [classify(row) for row in rows]
lacking = [row for row in rows if row["rain_mm"] is None]
assert len(lacking) > 20
assert [classify(row | {"rain_mm": float("nan")}) for row in lacking] == [
    answer for row, answer in zip(rows, answers) if row in lacking
]
print(*answers)
"""


def blocks(language):
    """Return the page's blocks of code in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Do what the page says, in a folder of its own."""
    folder = tmp_path_factory.mktemp("page")
    table, device = blocks("python")
    recipe, _ = blocks("toml")
    fresh.python(table, cwd=folder)
    (folder / "plants.toml").write_text(recipe)
    for words in blocks("sh"):
        python, *arguments = words.split()
        assert python == "python"
        done = fresh.command(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr[-2000:]
    answer = fresh.python(device + EVERY_ROW, cwd=folder)
    (folder / "answer.txt").write_text(answer)
    return folder


@pytest.mark.slow
def test_page_leads_from_a_table_to_a_device(folder):
    answer, *answers = (folder / "answer.txt").read_text().split()
    assert answer in ("fern", "moss", "reed")
    new = pd.read_csv(folder / "new.csv")
    found = pd.read_csv(folder / "predictions" / "predictions.csv")
    assert len(found) == 2000
    assert np.mean(found.predicted == new.species) > 0.75
    # The page's few lines answer as `kbp predict`, where numbers lack too.
    assert new.rain_mm.isna().sum() > 20
    assert answers == found.predicted.tolist()
    report = (folder / "runs" / "plants" / "report.html").read_text()
    assert "gradient-boosted trees" in report


@pytest.mark.slow
def test_file_takes_raw_numbers_and_is_as_good_as_the_float_model(folder):
    run, new = folder / "runs" / "plants", pd.read_csv(folder / "new.csv")
    told = json.loads((run / "columns.json").read_text())
    rows = np.stack(
        [
            new[column["name"]].map(column["categories"])
            if "categories" in column
            else new[column["name"]].fillna(column["mean"])
            for column in told["columns"]
        ],
        axis=1,
    )
    labels = new["species"].map(told["target"]["classes"].index)
    model = checkpoint.load(run / "model.keras")
    exact = model.predict(rows.astype("float32"), verbose=0)
    raw = export.Runner(run / "model_int8.tflite").predict(
        rows.astype("float32")
    )
    scores = [np.mean(x.argmax(axis=-1) == labels) for x in (exact, raw)]
    assert scores[1] > scores[0] - 0.005
    # What `predict` wrote is what the file gives.
    found = pd.read_csv(folder / "predictions" / "predictions.csv")
    classes = np.array(told["target"]["classes"])
    assert np.mean(classes[raw.argmax(axis=-1)] == found.predicted) == 1


@pytest.mark.slow
def test_run_is_fast_and_small(folder):
    run = json.loads((folder / "runs" / "plants" / "run.json").read_text())
    assert run["seconds"] < 300
    assert run["peak_memory_bytes"] < 2e9
