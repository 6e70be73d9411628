"""Entries with weights."""

import functools
import io
import json
import shutil
import tomllib
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp import export, models, zoo
from kbp.__main__ import main
from kbp.errors import UserError
from kbp.inference import golden
from kbp.inference.safe import check_keras_file
from kbp.quantization import quantize_aware
from kbp.recipes import Recipe
from kbp.training import checkpoint

NAME = "pyramid_bpnet_tiny.digits"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run's models, and what they were made of."""
    folder = tmp_path_factory.mktemp("run")
    model = models.PyramidBPNet((8, 8, 1), 10, width=8)
    images = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    checkpoint.save(model, folder / zoo.MODEL)
    export.to_tflite(quantize_aware(model, [images]), folder / zoo.INT8)
    golden.write(folder, model, folder / zoo.INT8, images)
    (folder / zoo.PREDICTIONS).write_text("<svg/>")
    return folder, model, images


@pytest.fixture
def entry(made, tmp_path, monkeypatch):
    folder = tmp_path / "zoo" / NAME
    folder.mkdir(parents=True)
    recipe = Recipe().with_settings(
        ["data.image_size=8", "model.width=8", "model.num_scales=2"]
    )
    (folder / "recipe.toml").write_text(recipe.to_toml())
    monkeypatch.setattr(zoo, "root", lambda: tmp_path / "zoo")
    monkeypatch.delenv("KBP_ZOO")
    zoo.take(zoo.find(NAME), made[0])
    return folder


@pytest.mark.long
def test_entry_loads_and_is_verified(entry, made, capsys):
    _, model, images = made
    loaded = zoo.load(NAME)
    np.testing.assert_array_equal(
        as_numpy(loaded(images)), as_numpy(model(images))
    )
    assert zoo.file(NAME) == entry / "model_int8.tflite"
    zoo.verify(NAME)
    assert main(["list", "--verify"]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["evaluate", NAME]) == 0
    assert "int8" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [entry.name for entry in zoo.entries() if entry.has_weights],
)
def test_published_entries_give_their_golden_outputs(name):
    zoo.verify(name)


def test_classes_and_a_name_are_taken_with_the_models(entry, made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made[0], run)
    (run / "labels.txt").write_text("cat\ndog\n")
    zoo.take(zoo.find(NAME), run)
    assert zoo.file(NAME, "labels.txt").read_text() == "cat\ndog\n"
    found = export.Metadata.read(zoo.file(NAME))
    assert (found.name, found.license) == (NAME, zoo.LICENSE)
    zoo.verify(NAME)


def test_entry_without_weights_says_so(entry):
    (entry / zoo.SUMS).unlink()
    with pytest.raises(UserError, match=f"{NAME} has no weights"):
        zoo.load(NAME)
    with pytest.raises(UserError, match="did you mean 'pyramid_bpnet_tiny"):
        zoo.load("pyramid_bpnet_tin.digits")


def test_weights_that_the_wheel_lacks_are_found_elsewhere(
    entry, monkeypatch, tmp_path, capsys
):
    shutil.copytree(entry.parent, tmp_path / "source")
    for name in zoo.FILES:
        (entry / name).unlink()
    with pytest.raises(UserError, match=r"missing\. The wheel holds .*KBP_ZOO"):
        zoo.load(NAME)
    assert main(["list"]) == 0
    assert "KBP_ZOO" in capsys.readouterr().out
    monkeypatch.setenv("KBP_ZOO", str(tmp_path / "source"))
    zoo.verify(NAME)
    assert zoo.file(NAME).parents[1] == tmp_path / "source"


@pytest.mark.parametrize(
    ("content", "data", "said"),
    [
        (b"", "digits", None),
        (b"[training]\nepochs = 3", "digits", None),
        (b"\xef\xbb\xbf[data]\nname = 'mine'", "mine", None),
        (b"data = 3\ntraining = []", "digits", None),
        (b"[data", None, "not valid TOML"),
        (b"\xff\xfe[", None, "cannot be read"),
    ],
)
def test_odd_recipes_of_others_are_listed_or_named(
    content, data, said, monkeypatch, tmp_path, capsys
):
    folder = tmp_path / "others" / "odd.mine"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_bytes(content)
    monkeypatch.setenv("KBP_ZOO", str(tmp_path / "others"))
    assert main(["list"]) == (2 if said else 0)
    out, err = capsys.readouterr()
    if said:
        assert f"{folder / 'recipe.toml'}: {said}" in err
        assert err.count("\n") == 1
    else:
        (line,) = (line for line in out.splitlines() if "odd.mine" in line)
        assert data in line


def test_wheel_has_the_weights_of_small_entries_alone():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    exclude = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    patterns = [p[1:-2] for p in exclude if p.startswith("/models/")]
    left_out = {p for pattern in patterns for p in ROOT.glob(pattern)}
    assert left_out == {
        folder
        for folder in (ROOT / "models").iterdir()
        if sum(path.stat().st_size for path in folder.rglob("*")) > 1_000_000
    }


@pytest.mark.parametrize("name", zoo.FILES)
def test_file_that_is_not_the_published_one_is_refused(entry, name):
    content = bytearray((entry / name).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: is not the file"):
        zoo.file(NAME, name)
    (entry / name).write_bytes(bytes(zoo.MOST_BYTES + 1))
    with pytest.raises(UserError, match="more than 5000000"):
        zoo.file(NAME, name)
    (entry / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        zoo.file(NAME, name)
    with pytest.raises(UserError, match="other: no such file"):
        zoo.file(NAME, "other")
    (entry / zoo.SUMS).write_text("mine")
    with pytest.raises(UserError, match="holds no SHA-256 sums"):
        zoo.file(NAME, name)


@pytest.mark.parametrize("name", golden.TOLERANCES)
def test_models_that_give_other_outputs_are_found(entry, made, name):
    with np.load(entry / golden.GOLDEN) as file:
        arrays = dict(file)
    # Toward zero, so that no integer leaves its range.
    outputs = arrays[name]
    arrays[name] = outputs - np.where(outputs > 0, 3, -3).astype(outputs.dtype)
    content = io.BytesIO()
    np.savez(content, **arrays)
    (entry / golden.GOLDEN).write_bytes(content.getvalue())
    zoo.take(zoo.find(NAME), entry)
    with pytest.raises(UserError, match=f"{name} model's outputs are 3"):
        zoo.verify(NAME)


def test_forecasts_of_another_file_are_found(tmp_path):
    folder = zoo.find("bp_transformer_small.etth1_96").path
    with np.load(folder / golden.GOLDEN) as file:
        arrays = dict(file)
    largest = np.abs(arrays["int8"]).max()
    for share, is_right in ((0.005, True), (0.02, False)):
        other = {**arrays, "int8": arrays["int8"] + share * largest}
        np.savez(tmp_path / golden.GOLDEN, **other)
        check = functools.partial(
            golden.check,
            tmp_path / golden.GOLDEN,
            zoo.load("bp_transformer_small.etth1_96"),
            folder / zoo.INT8,
        )
        if is_right:
            check()
        else:
            with pytest.raises(UserError, match="int8 model's outputs are"):
                check()


def test_nothing_is_taken_if_something_is_missing_or_large(
    entry, made, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(made[0], run)
    (run / golden.GOLDEN).unlink()
    before = {path: path.read_bytes() for path in entry.iterdir()}
    with pytest.raises(UserError, match=r"golden\.npz: missing"):
        zoo.take(zoo.find(NAME), run)
    (run / golden.GOLDEN).write_bytes(bytes(zoo.MOST_BYTES + 1))
    with pytest.raises(UserError, match="more than 5000000"):
        zoo.take(zoo.find(NAME), run)
    assert {path: path.read_bytes() for path in entry.iterdir()} == before


def altered(source, target, change=lambda config: None, **members):
    """Copy a .keras file with another configuration or more members."""
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w") as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            new.writestr(name, content)
        for name, content in members.items():
            new.writestr(name, content)
    return target


def make_lambda(config):
    config["config"]["layers"][1] |= {"class_name": "Lambda"}


def make_call(config):
    layer = config["config"]["layers"][1]
    layer["config"]["activation"] = {
        "class_name": "function",
        "config": "system",
        "module": "os",
        "registered_name": "system",
    }


def pretend(config):
    layer = config["config"]["layers"][1]
    layer |= {"class_name": "system", "module": "os"}
    layer["registered_name"] = "kbp>system"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (make_lambda, "asks for keras.layers.Lambda"),
        (make_call, "asks for os.system"),
        (pretend, "asks for os.system"),
    ],
)
def test_what_no_entry_needs_is_refused_before_keras_sees_it(
    made, tmp_path, change, message
):
    file = altered(made[0] / zoo.MODEL, tmp_path / "model.keras", change)
    with pytest.raises(UserError, match=message):
        check_keras_file(file, most_bytes=10**6, entry=True)


def test_archives_are_looked_into(made, tmp_path):
    source = made[0] / zoo.MODEL
    check_keras_file(source, most_bytes=10**6, entry=True)
    file = altered(source, tmp_path / "model.keras", **{"../evil.py": "x"})
    with pytest.raises(UserError, match=r"holds '\.\./evil\.py'"):
        check_keras_file(file, most_bytes=10**6, entry=True)
    with pytest.raises(UserError, match="more than 1000 bytes"):
        check_keras_file(source, most_bytes=1000, entry=True)
    file.write_text("none")
    with pytest.raises(UserError, match=r"no \.keras file"):
        check_keras_file(file, most_bytes=10**6, entry=True)


def test_models_of_both_families_pass(tmp_path):
    for model in (
        models.PyramidBPNet(
            (8, 8, 1), 2, head="segmentation", size="small", dropout=0.1
        ),
        models.BPTransformer((6, 4), 3, width=8, dropout=0.1),
    ):
        file = checkpoint.save(model, tmp_path / "model.keras")
        check_keras_file(file, most_bytes=10**7, entry=True)
        assert keras.saving.load_model(file).count_params()
