"""What `predict` says of how far an ensemble's members differ."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

from kbp import __main__ as main
from kbp.inference.ensembles import mutual_information, predict_members
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.training import checkpoint, combined

RNG = np.random.default_rng(8)
ENSEMBLE = {"members": 3}


def made(folder, sections, **ensemble):
    """Return the task of a run whose ensemble was never trained."""
    recipe = Recipe.parse(
        {
            **sections,
            "quantization": {"enabled": False},
            "ensemble": {**ENSEMBLE, **ensemble},
        }
    )
    task = make_task(recipe, None)
    members = [task.start(task.build()) for _ in range(3)]
    for number, member in enumerate(members):
        for weight in member.trainable_weights:
            noise = np.random.default_rng(number).normal(size=weight.shape)
            weight.assign(weight + 0.1 * noise)
    whole = combined(members, combine=recipe.ensemble.combine)
    checkpoint.save(whole, folder / "model.keras")
    for name, text in task.files().items():
        (folder / name).write_text(text)
    run = {"status": "finished", "recipe": recipe.to_dict()}
    (folder / "run.json").write_text(json.dumps(run))
    return members


def predicted(folder, file, *names):
    words = ["predict", str(folder), str(file), "--out", str(folder / "out")]
    assert main.main(words) == 0
    (found,) = (folder / "out").glob("*.csv")
    return pd.read_csv(found)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def table(tmp_path):
    x = RNG.normal(size=(300, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    frame["kind"] = np.where(x.sum(axis=1) > 0, "up", "down")
    frame["amount"] = 1e3 * x.sum(axis=1)
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def of_table(table, task, target, other):
    return {
        "model": {"architecture": "residual_mlp", "width": 8},
        "data": {
            "name": "csv_table",
            "file": str(table),
            "target": target,
            "ignore": [other],
        },
        "task": {"name": task},
        "training": {"epochs": 1},
    }


@pytest.mark.long
@pytest.mark.parametrize("combine", ["mean", "vote"])
def test_of_classes_of_images(combine, folder, tmp_path):
    image = (RNG.random((8, 8)) * 255).astype("uint8")
    Image.fromarray(image).save(tmp_path / "a.png")
    sections = {
        "model": {"architecture": "pyramid_bpnet", "width": 8},
        "data": {"name": "digits", "image_size": 8},
    }
    members = made(folder, sections, combine=combine)
    found = predicted(folder, tmp_path / "a.png")
    x = (image / np.float32(255)).reshape(1, 8, 8, 1)
    likely = special.softmax(
        np.stack([m.predict(x, verbose=0) for m in members], dtype="float64"),
        axis=-1,
    )
    chosen = likely[:, 0, int(found["class"][0])]
    assert found["deviation"][0] == pytest.approx(chosen.std(), abs=1e-4)
    information = mutual_information(likely)[0]
    assert information > 1e-3
    assert found["mutual_information"][0] == pytest.approx(
        information, abs=1e-4
    )


def test_of_the_classes_of_pixels(folder, tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(20):
            values = RNG.integers(0, 2, (16, 16)) * 255
            file = tmp_path / name / f"{number}.png"
            Image.fromarray(values.astype("uint8")).save(file)
    sections = {
        "model": {"architecture": "pyramid_bpnet", "width": 8},
        "data": {
            "name": "image_masks",
            "images": str(tmp_path / "images"),
            "masks": str(tmp_path / "masks"),
        },
        "training": {"batch_size": 4},
    }
    members = made(folder, sections)
    image, out = tmp_path / "images" / "3.png", folder / "out"
    words = ["predict", str(folder), str(image), "--out", str(out)]
    assert main.main(words) == 0
    assert {path.name for path in out.iterdir()} == {
        *("3.png", "3_overlay.png", "3_disagreement.png")
    }
    with Image.open(image) as file:
        x = (np.asarray(file) / np.float32(255)).reshape(1, 16, 16, 1)
    likely = special.softmax(
        np.stack([m.predict(x, verbose=0) for m in members], dtype="float64"),
        axis=-1,
    )
    expected = mutual_information(likely)[0] / np.log(2)
    assert expected.max() > 0.02
    with Image.open(out / "3_disagreement.png") as file:
        found = np.asarray(file) / 255
    np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-4)


def test_of_classes_of_rows(folder, table):
    sections = of_table(table, "tabular_classification", "kind", "amount")
    members = made(folder, sections)
    found = predicted(folder, table)
    x = pd.read_csv(table)[["a", "b"]].to_numpy("float32")
    likely = special.softmax(
        np.stack([m.predict(x, verbose=0) for m in members]), axis=-1
    )
    information = mutual_information(likely)
    assert np.abs(found["mutual_information"] - information).max() < 1e-4
    assert {*found.columns} > {"predicted", "probability", "deviation"}


def test_of_numbers_of_rows(folder, table):
    sections = of_table(table, "tabular_regression", "amount", "kind")
    members = made(folder, sections)
    found = predicted(folder, table)
    x = pd.read_csv(table)[["a", "b"]].to_numpy("float32")
    values = np.stack([m.predict(x, verbose=0)[:, 0] for m in members])
    expected = values.astype("float64").std(axis=0)
    np.testing.assert_allclose(found["deviation"], expected, rtol=1e-3)
    assert "mutual_information" not in found


@pytest.mark.long
def test_of_forecasts_in_units_of_the_series(folder, tmp_path):
    times = pd.date_range("2024-01-01", periods=400, freq="h")
    series = pd.DataFrame(
        {
            "time": times,
            "load": 1e4 + 1e3 * np.sin(np.arange(400) / 4),
            "heat": RNG.normal(size=400),
        }
    )
    series.to_csv(tmp_path / "series.csv", index=False)
    sections = {
        "model": {"architecture": "bp_transformer", "width": 8},
        "data": {
            "name": "csv_series",
            "file": str(tmp_path / "series.csv"),
            "time_column": "time",
            "lookback": 24,
            "horizon": 6,
        },
        "training": {"epochs": 1},
    }
    members = made(folder, sections)
    found = predicted(folder, tmp_path / "series.csv")
    assert [*found.columns] == [
        *("time", "load", "load_deviation", "heat", "heat_deviation")
    ]
    x = series[["load", "heat"]].to_numpy("float32")[None, -24:]
    values = np.stack([m.predict(x, verbose=0)[0] for m in members])
    expected = values.astype("float64").std(axis=0)
    for column, name in enumerate(("load", "heat")):
        np.testing.assert_allclose(
            found[f"{name}_deviation"], expected[:, column], rtol=0.01
        )


def test_a_file_without_its_keras_model_has_no_members(folder):
    assert predict_members(folder / "model_int8.tflite") is None
