"""Classes of recordings, from files to predictions."""

import csv
import io
import tomllib

import numpy as np
import pytest
import recordings
from rich.console import Console

from kbp import __main__ as main
from kbp import export, training
from kbp.data.recordings import Binning
from kbp.recipes import Recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("events")
    recordings.write(place / "all", 12)
    recipe = Recipe.parse(
        {
            "model": {"architecture": "recurrent", "cell": "gru", "width": 8},
            "data": recordings.section(place / "all"),
            "optimizer": {"learning_rate": 0.03},
            "training": {"epochs": 15, "batch_size": 8},
            "quantization": {"enabled": False},
            "export": {"benchmark_rounds": 1},
        }
    )
    training.run(recipe, place / "run", console=Console(file=io.StringIO()))
    return place / "run"


@pytest.mark.long
def test_a_run_learns_and_describes_its_file(run):
    metadata = export.Metadata.read(run / "model_float32.tflite")
    (taken,) = metadata.inputs
    assert taken.axes == ("time", "channels")
    assert metadata.task == "sequence_classification"
    assert "Confusion matrix" in (run / "report.html").read_text()
    assert (run / "predictions.svg").read_text().startswith("<svg")


def test_new_recordings_are_labelled(run, tmp_path, capsys):
    new = recordings.write(tmp_path / "new", 5, seed=3)
    words = ["predict", run, tmp_path / "new", "--out", tmp_path / "out"]
    assert main.main([*map(str, words)]) == 0
    assert "Written: " in capsys.readouterr().out
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = [*csv.DictReader(file)]
    paths = sorted(new)
    assert [row["file"] for row in rows] == [*map(str, paths)]
    binning = Binning(8, channels=recordings.CHANNELS)
    values = np.stack([binning.read(path).values for path in paths])
    logits = export.Runner(run / "model_float32.tflite").predict(values)
    expected = [recordings.CLASSES[i] for i in logits.argmax(axis=-1)]
    assert [row["class"] for row in rows] == expected
    right = [new[p] == row["class"] for p, row in zip(paths, rows, strict=True)]
    assert np.mean(right) >= 0.9


def test_wrong_recordings_write_nothing(run, tmp_path, capsys):
    recordings.write(tmp_path / "new", 1)
    bad = tmp_path / "new" / "bad.csv"
    bad.write_text("time,channel,polarity\n0,99,1\n")
    words = ["predict", run, tmp_path / "new", "--out", tmp_path / "out"]
    assert main.main([*map(str, words)]) == 2
    assert "bad.csv, line 2: channel is '99'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_packed_recordings_are_inspected_and_trained_on(tmp_path, capsys):
    recordings.write(tmp_path / "all", 6)
    recipe = tmp_path / "my.toml"
    data = recordings.section(tmp_path / "all", validation_fraction=0.0)
    recipe.write_text(Recipe.parse({"data": data}).to_toml())
    packed = str(tmp_path / "packed")
    assert main.main(["pack", str(recipe), "--out", packed]) == 0
    said = capsys.readouterr().out
    assert 'name = "sequence_classification"' in said
    assert main.main(["inspect", packed]) == 0
    assert "inputs 8x12 float32" in capsys.readouterr().out
    lines = said[said.index("[data]") :]
    held = Recipe.parse(tomllib.loads(lines))
    assert held.task.name == "sequence_classification"
    from kbp.tasks import make_task

    held = held.with_settings(["training.batch_size=2"])
    made = make_task(held)
    assert made.shape == (8, 12)
    assert float(made.inputs("train")[:].sum()) == 60 * len(made.splits.train)
