"""What a file says of itself is enough to deploy it alone."""

import dataclasses
import json
import shutil

import deployed
import numpy as np
import pytest
from PIL import Image

from kbp import deploy, export, zoo
from kbp.deploy.deployable import Deployable
from kbp.deploy.registry import TARGETS
from kbp.errors import UserError
from kbp.export.metadata import describing
from kbp.export.metadata.describing import describe

ENTRIES = (
    "pyramid_bpnet_small.digits",
    "bp_transformer_small.digits",
    "pyramid_bpnet_small.dsb2018",
    "bp_transformer_small.etth1_96",
)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("target", [x for x in TARGETS if x != "entry"])
def test_a_lone_file_deploys_as_its_entry(tmp_path, monkeypatch, entry, target):
    if target == "micro":
        pytest.importorskip("tflite_micro", reason="needs kbp[micro]")
    deployed.fake_node_modules(tmp_path, monkeypatch)
    file = shutil.copy(zoo.file(entry), tmp_path / "other.tflite")
    whole = deploy.deploy(entry, target, tmp_path / "whole")
    alone = deploy.deploy(file, target, tmp_path / "alone")
    names = {path.name for path in whole.iterdir()}
    assert names == {path.name for path in alone.iterdir()}
    # Examples are golden ones where those lie beside the file.
    for path in whole.iterdir():
        if path.is_file() and "example" not in path.name:
            assert path.read_bytes() == (alone / path.name).read_bytes(), path
    facts = json.loads((alone / "model.json").read_text())
    assert facts["name"] == entry
    assert facts["task"] == zoo.find(entry).recipe.task.name


@pytest.mark.parametrize("make", [deployed.table, deployed.series])
def test_a_lone_table_or_series_deploys_as_with_the_files_beside_it(
    tmp_path, make
):
    path = make(tmp_path / "run")
    texts = {x.name: x.read_text() for x in path.parent.glob("*.json")}
    task = {"table": "tabular_classification", "series": "forecasting"}
    metadata = dataclasses.replace(
        export.Metadata.read(path), task=task[make.__name__], files=texts
    )
    metadata = dataclasses.replace(metadata, name="model")
    path.write_bytes(describe(path.read_bytes(), metadata))
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(path, tmp_path / "alone" / "other.tflite")
    assert Deployable.open(str(path)).to_json() == (
        Deployable.open(str(alone)).to_json()
    )


def described(folder, shape, count, **tensor):
    path = deployed.dense(folder, shape, (count,))
    known = export.Metadata.read(path)
    (taken,), (given,) = known.inputs, known.outputs
    taken = dataclasses.replace(taken, **tensor)
    given = dataclasses.replace(
        given, unit="decibels", labels=tuple(f"k{n}" for n in range(count))
    )
    metadata = dataclasses.replace(known, inputs=(taken,), outputs=(given,))
    path.write_bytes(describe(path.read_bytes(), metadata))
    return path


def test_pixels_are_scaled_as_the_file_says(tmp_path):
    mean, std = (120.0, 100.0, 90.0), (50.0, 60.0, 70.0)
    path = described(tmp_path / "run", (6, 8, 3), 4, mean=mean, std=std)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 3), "uint8")
    image = tmp_path / "image.png"
    Image.fromarray(pixels).save(image)
    logits = export.Runner(path).predict(
        ((pixels[None] - np.array(mean)) / np.array(std)).astype("float32")
    )
    folder = deploy.deploy(path, "python", tmp_path / "app")
    ((_, name, share),) = deployed.alone(folder, image)
    shares = np.exp(logits[0] - logits.max())
    assert name == f"k{logits.argmax()}"
    assert abs(float(share) - shares.max() / shares.sum()) < 1e-3
    text = (folder / "README.md").read_text()
    assert "less 120, 100, 90, by 50, 60, 70" in text
    assert "in decibels" in text


def test_names_of_columns_are_the_files_where_nothing_else_says_them(tmp_path):
    path = described(tmp_path / "run", (3,), 2, labels=("a", "b", "c"))
    facts = Deployable.open(str(path)).meaning
    assert [column["name"] for column in facts["columns"]] == ["a", "b", "c"]
    assert facts["labels"] == ("k0", "k1")


@pytest.mark.parametrize(
    ("shape", "tensor", "words"),
    [
        ((6, 8, 3), {"mean": (1.0, 2.0), "std": (1.0, 2.0)}, "describes 2"),
        ((3,), {"labels": ("a", "b")}, "takes 3 columns"),
    ],
)
def test_descriptions_of_another_model_are_refused(
    tmp_path, monkeypatch, shape, tensor, words
):
    # Another program may write what kbp would not.
    monkeypatch.setattr(describing, "_check", lambda tensor, shape: None)
    path = described(tmp_path / "run", shape, 2, **tensor)
    with pytest.raises(UserError, match=words):
        Deployable.open(str(path))
