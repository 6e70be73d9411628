"""The benchmark of memory, on few images and series."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kbp.benchmarks.input_memory import cases, series


def test_images_are_different_ones_of_each_class(tmp_path):
    cases.write(tmp_path, 250)
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == 250
    assert len([*tmp_path.iterdir()]) == 10
    images = {np.asarray(Image.open(path)).tobytes() for path in files}
    assert len(images) == 250
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_series_are_rows_one_behind_the_other(form, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow") if form == "parquet" else None
    monkeypatch.setattr(series, "_TOGETHER", 3)
    file = tmp_path / f"series.{form}"
    series.write(file, 7)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[form]
    rows = read(file)
    assert len(rows) == 7 * series.ROWS
    assert [*rows["site"].unique()] == [f"site {i:07d}" for i in range(7)]
    assert rows["time"].nunique() == series.ROWS
    assert rows["load"].nunique() > 300


@pytest.mark.slow
@pytest.mark.parametrize("name", cases.CASES)
def test_a_run_is_measured(name):
    pytest.importorskip("pyarrow") if "Parquet" in name else None
    found = cases.CASES[name](count=1500)
    assert found["examples"].startswith("1,500 ")
    assert 2e8 < found["memory"] < 1.5e9
    assert found["first"] > 0 < found["again"]
    line = {"case": "a", **found, "machine": {}, "versions": {}, "commit": ""}
    assert "GB" in "".join(cases._cells(line))
