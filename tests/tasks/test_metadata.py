"""What files of each task's models say of themselves."""

import io
import json

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quick import SETTINGS
from rich.console import Console

import kbp
from kbp import export, training
from kbp.__main__ import main
from kbp._utils.machine import versions
from kbp._utils.manifest import digest
from kbp.recipes import Recipe
from kbp.tasks import make_task

RNG = np.random.default_rng(0)
DIGITS = tuple("0123456789")
PIXELS = {"mean": (0.0,), "std": (255.0,), "lowest": (0.0,), "highest": (1.0,)}


def digits(folder):
    return {"model": {"width": 8}, "data": {"image_size": 8}}


def rows(folder):
    model = {"architecture": "bp_transformer", "width": 8, "num_heads": 2}
    return {
        "model": model,
        "data": {"image_size": 8},
        "task": {"layout": "rows"},
    }


def masks(folder):
    for part in ("images", "masks"):
        (folder / part).mkdir()
        for number in range(10):
            values = RNG.integers(0, 2, (16, 16), "uint8") * 255
            Image.fromarray(values).save(folder / part / f"{number}.png")
    names = {part: str(folder / part) for part in ("images", "masks")}
    data = {"name": "image_masks", "class_names": ["ground", "disk"], **names}
    return {
        "model": {"width": 8},
        "data": data,
        "training": {"batch_size": 2},
    }


def table(folder, target):
    frame = pd.DataFrame(
        {
            "mass": RNG.normal(size=60),
            "city": RNG.choice(["Bonn", "Ulm"], 60),
            "kind": ["low", "high", "mid"] * 20,
            "yield": RNG.normal(size=60) * 1e5,
        }
    )
    frame.to_csv(folder / "plants.csv", index=False)
    ignored = "kind" if target == "yield" else "yield"
    names = {"kind": "classification", "yield": "regression"}
    return {
        "model": {"architecture": "residual_mlp", "width": 8},
        "data": {
            "name": "csv_table",
            "file": str(folder / "plants.csv"),
            "target": target,
            "ignore": [ignored],
        },
        "task": {"name": f"tabular_{names[target]}"},
        "training": {"batch_size": 8},
    }


def classes(folder):
    return table(folder, "kind")


def numbers(folder):
    return table(folder, "yield")


def series(folder):
    values = RNG.normal(size=(300, 2)).cumsum(axis=0)
    frame = pd.DataFrame(values, columns=["load", "price"])
    frame.insert(0, "date", pd.date_range("2026-01-01", periods=300, freq="h"))
    frame.to_csv(folder / "load.csv", index=False)
    return {
        "model": {
            "architecture": "bp_transformer",
            "width": 8,
            "num_heads": 2,
            "normalize": True,
        },
        "data": {
            "name": "csv_series",
            "file": str(folder / "load.csv"),
            "time_column": "date",
            "lookback": 12,
            "horizon": 4,
        },
        "training": {"batch_size": 8},
    }


# What is said of the input and of the output, and the names of files.
KNOWN = [
    (
        digits,
        {"kind": "image", "axes": ("height", "width", "channels"), **PIXELS},
        {"axes": ("classes",), "unit": "logit", "labels": DIGITS},
        ["labels.txt"],
    ),
    (
        rows,
        {"kind": "features", "axes": ("rows", "pixels"), **PIXELS},
        {"axes": ("classes",), "labels": DIGITS},
        ["labels.txt"],
    ),
    (
        masks,
        {"kind": "image", **PIXELS},
        {"axes": ("height", "width", "classes"), "labels": ("ground", "disk")},
        ["images.json", "labels.txt"],
    ),
    (
        classes,
        {"axes": ("columns",), "labels": ("mass", "city"), "mean": ()},
        {"unit": "logit", "labels": ("high", "low", "mid")},
        ["columns.json"],
    ),
    (
        numbers,
        {"labels": ("mass", "city")},
        {"description": "yield, in its own units.", "labels": (), "unit": ""},
        ["columns.json"],
    ),
    (
        series,
        # The model forecasts any columns, so they have no places.
        {"axes": ("rows", "columns"), "labels": (), "kind": "features"},
        {"axes": ("rows", "columns"), "labels": (), "mean": ()},
        ["series.json"],
    ),
]


@pytest.mark.parametrize(
    ("make", "taken", "given", "files"), KNOWN, ids=lambda x: str(x)[:15]
)
def test_what_a_task_knows_is_in_the_file(make, taken, given, files, tmp_path):
    about = {"license": "MIT", "author": "A. Person", "version": "3"}
    recipe = Recipe.parse({**make(tmp_path), "export": about})
    task = make_task(recipe)
    model, path = task.build(), tmp_path / "model.tflite"
    export.to_tflite(model, path, metadata=task.metadata())
    found = export.Metadata.read(path)
    assert found.task == task.name == recipe.task.name
    said = {key: getattr(found, key) for key in about}
    assert said == about
    assert recipe.data.name in found.name
    assert recipe.data.name in found.description
    assert found.description.endswith(".")
    assert sorted(found.files) == files
    assert dict(found.files) == task.files()
    assert found.origin["recipe"] == recipe.to_toml()
    pairs = (
        (found.inputs, taken, model.inputs),
        (
            found.outputs,
            given,
            model.outputs,
        ),
    )
    for (tensor,), known, (symbolic,) in pairs:
        assert {key: getattr(tensor, key) for key in known} == known
        assert len(tensor.axes) == len(symbolic.shape) - 1
        assert len(tensor.labels) in (0, symbolic.shape[-1])
        assert len(tensor.mean) in (0, 1, symbolic.shape[-1])
        assert tensor.description


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = Recipe().with_settings([*SETTINGS, "training.epochs=1"])
    training.run(recipe, folder, console=Console(file=io.StringIO()))
    return folder


FILES = {
    "model_float32.tflite": ["model.keras"],
    "model_int8.tflite": ["model.keras", "model_quantized.keras"],
}


@pytest.mark.long
@pytest.mark.parametrize("file", FILES)
def test_files_of_a_run_name_what_they_were_made_of(run, file):
    found = export.Metadata.read(run / file)
    sums = {name: digest(run / name) for name in FILES[file]}
    assert found.origin["models"] == sums
    assert found.origin["versions"] == versions()
    assert found.origin["recipe"] == (run / "recipe.toml").read_text()
    assert found.files["labels.txt"] == (run / "labels.txt").read_text()
    (output,) = found.outputs
    assert (output.name, output.labels) == ("logits", DIGITS)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (["--dtype", "float16"], "model_float32.tflite"),
        (["--dtype", "int8", "--input-dtype", "uint8"], "model_int8.tflite"),
    ],
)
def test_what_is_exported_of_a_run_says_the_same(run, options, file, tmp_path):
    out = tmp_path / "out.tflite"
    assert main(["export", str(run), str(out), *options]) == 0
    assert export.Metadata.read(out) == export.Metadata.read(run / file)


def test_models_of_nobodys_run_are_named_with_their_sum(run, tmp_path):
    path, out = tmp_path / "own.keras", tmp_path / "out.tflite"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    (tmp_path / "model_int8.tflite").write_bytes(
        (run / "model_int8.tflite").read_bytes()
    )
    assert main(["export", str(path), str(out)]) == 0
    found = export.Metadata.read(out)
    assert found.origin["models"] == {"own.keras": digest(path)}
    assert not found.files


@pytest.mark.long
def test_a_model_of_ones_own_is_described_by_its_names(tmp_path):
    left = keras.Input((4,), name="left")
    right = keras.Input((3,), name="right")
    x = keras.layers.Concatenate()([left, right])
    x = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    outputs = keras.layers.Dense(2, name="score")(x)
    model = keras.Model([left, right], outputs, name="pairs")
    model.compile("sgd", "mse")
    data = {
        "left": RNG.normal(size=(320, 4)).astype("float32"),
        "right": RNG.normal(size=(320, 3)).astype("float32"),
    }
    made = kbp.compress(
        model,
        (data, RNG.normal(size=(320, 2)).astype("float32")),
        quantization_epochs=0,
        workdir=tmp_path / "run",
        console=Console(file=io.StringIO()),
    )
    found = export.Metadata.read(made.paths["int8"])
    assert found.name == "pairs"
    assert found.task == "own_model"
    assert [x.name for x in found.inputs] == ["left", "right"]
    assert [x.name for x in found.outputs] == ["score"]
    assert [*found.origin["models"]] == FILES["model_int8.tflite"]
    json.dumps(dict(found.origin))
