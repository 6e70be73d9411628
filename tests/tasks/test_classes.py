"""Runs for folders of photographs, from files to predictions."""

import argparse
import csv
import dataclasses
import io
import json
import re
import shutil
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import fresh
import numpy as np
import photographs
import pytest
from PIL import Image
from rich.console import Console

from kbp import __main__ as main
from kbp import export, training, zoo
from kbp.data.images.kinds import ImageKinds
from kbp.data.images.photographs import read_photographs
from kbp.recipes import Recipe
from kbp.reports.class_tables import class_tables
from kbp.reports.contact_sheet import contact_sheet
from kbp.tasks import make_task, predict_classes
from kbp.tasks.class_loss import ClassLossConfig
from kbp.tasks.predict_classes import (
    ClassPrediction,
    class_names_of,
    probabilities,
)
from kbp.tasks.predict_masks import images_of
from kbp.tasks.prediction import OpenModel, task_of

COUNT = 40  # of each class
PAGE = (fresh.ROOT / "docs" / "images.md").read_text()
RECIPE, *OTHERS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
MOST_SECONDS, MOST_MEMORY = 300, 2e9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The recipe of six lines, in a process of its own as people run it."""
    place = tmp_path_factory.mktemp("place")
    photographs.write(place / "photos", COUNT)
    (place / "photos.toml").write_text(RECIPE)
    done = fresh.command(*COMMANDS[0].split()[1:], cwd=place)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "image_folder" in done.stdout
    return place / "runs" / "photos"


def predictions(folder):
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_six_lines_take_photographs_to_a_verified_file(run):
    record = json.loads((run / "run.json").read_text())
    assert record["seconds"] < MOST_SECONDS
    assert record["peak_memory_bytes"] < MOST_MEMORY
    scores = {row["name"]: row["score"] for row in record["stages"]}
    assert scores["trained"] > 0.9
    assert scores["int8 .tflite"] >= scores["float32 .tflite"] - 0.005
    assert record["float_operations"] == []
    assert record["verification"]["within_one"] > 0.95
    report = (run / "report.html").read_text()
    assert "mean accuracy of the classes" in report
    assert (run / "labels.txt").read_text() == "checks\ndisks\nstripes\n"


@pytest.mark.slow
def test_new_photographs_are_named(run, tmp_path):
    new = photographs.write(tmp_path / "new", 9, seed=7)
    out = tmp_path / "out"
    (tmp_path / "runs").symlink_to(run.parent)
    done = fresh.command(*COMMANDS[1].split()[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = predictions(out)
    files = [str(tmp_path / row["file"]) for row in rows]
    assert files == sorted(map(str, new))
    expected = [new[path] for path in sorted(new)]
    right = np.equal([row["class"] for row in rows], expected)
    assert right.mean() > 0.85
    for row in rows:
        shares = [float(row[f"probability{k}"]) for k in ("", "_2", "_3")]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=2e-4)
    sheet = ET.parse(out / "contact_sheet.svg")
    images = sheet.findall(".//{*}image")
    assert len(images) == len(rows)


def test_recipes_of_the_page_are_read():
    assert len([x for x in RECIPE.splitlines() if x]) == 5
    balance, transfer = (Recipe.parse(tomllib.loads(x)) for x in OTHERS)
    assert balance.task.section(ClassLossConfig).balance
    assert transfer.training.frozen_epochs == 5


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A short run of the rule that is not the usual one."""
    place = tmp_path_factory.mktemp("small")
    photographs.write(place / "photos", 10)
    recipe = Recipe.parse(
        {
            "model": {"width": 8, "num_scales": 2},
            "data": {
                "name": "image_folder",
                "folder": str(place / "photos"),
                "image_size": 16,
                "resize": "stretch",
                "color": False,
            },
            "loss": {"balance": True},
            "augmentation": {"flip": True},
            "training": {"epochs": 1, "batch_size": 8},
            "quantization": {"epochs": 0},
            "export": {"benchmark_rounds": 1},
        }
    )
    with (place / "said.txt").open("w") as file:
        console = Console(file=file, width=120)
        training.run(recipe, place / "run", console=console)
    return place


@pytest.mark.long
def test_files_of_one_name_and_the_rule_of_the_recipe(small, tmp_path, capsys):
    for folder in ("a", "b"):
        for path in photographs.write(tmp_path, 1, classes=[folder] * 1):
            shutil.copy(path, tmp_path / folder / "same.jpg")
            path.unlink()
    files = [tmp_path / "a" / "same.jpg", tmp_path / "b" / "same.jpg"]
    out = tmp_path / "out"
    words = ["predict", small / "run", *files, "--out", out, "--top", "2"]
    assert main.main([*map(str, words)]) == 0
    said = capsys.readouterr().out
    assert "Written: " in said
    rows = predictions(out)
    assert [row["file"] for row in rows] == [*map(str, files)]
    assert [*rows[0]] == [
        *("file", "class", "probability", "class_2", "probability_2")
    ]
    images = read_photographs(files, (16, 16), channels=1, resize="stretch")
    runner = export.Runner(small / "run" / "model_int8.tflite")
    logits = runner.predict(images / np.float32(255))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(found, expected.max(axis=1), atol=1e-4)
    names = [photographs.CLASSES[i] for i in logits.argmax(axis=1)]
    assert [row["class"] for row in rows] == names


def test_without_the_int8_file_another_answers_and_formulas_are_text(
    small, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(small / "run", run)
    (run / "model_int8.tflite").unlink()
    (run / "labels.txt").write_text("=cmd|x\n@b\n-c\n")
    (image,) = photographs.write(tmp_path, 1, classes=["one"])
    shutil.copy(image, tmp_path / "=1+1.jpg")
    monkeypatch.chdir(tmp_path)
    words = ["predict", "run", "=1+1.jpg", "--out", "out", "--top", "3"]
    assert main.main(words) == 0
    said = capsys.readouterr().out
    assert "run: has no model_int8.tflite; model_float32.tflite answers" in said
    (row,) = predictions(tmp_path / "out")
    assert row["file"] == "'=1+1.jpg"
    classes = {row[key] for key in ("class", "class_2", "class_3")}
    assert classes == {"'=cmd|x", "'@b", "'-c"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "--top", "4"], "--top must be at most the 3 classes"),
        (["photos", "--top", "0"], "must be a whole number, 1 or more: 0"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["labels"], "labels: holds no image"),
        (["broken.png"], "broken.png: cannot be read"),
    ],
)
def test_what_cannot_be_predicted_is_said_before_anything_is_written(
    small, tmp_path, words, message, monkeypatch, capsys
):
    monkeypatch.chdir(small)
    (small / "labels").mkdir(exist_ok=True)
    (small / "broken.png").write_bytes(b"no")
    out = tmp_path / "out"
    assert main_status(["predict", "run", *words, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_all_files_that_cannot_be_read_are_named_at_once(
    small, tmp_path, monkeypatch, capsys
):
    """Of folders and names: as a training names them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("new", "more"):
        shutil.copytree(small / "photos" / "disks", folder)
    for name in ("new/a.gif", "new/broken.jpg", "more/b.heic", "one.png"):
        Path(name).write_bytes(b"no")
    words = ["predict", str(small / "run"), "new", "more", "one.png"]
    monkeypatch.setattr("kbp.tasks.predict_classes._AT_ONCE", 3)
    assert main_status([*words, "--out", "out"]) == 2
    said = capsys.readouterr().err
    for part in ("new: holds images of other kinds: a.gif", "more: holds"):
        assert part in said
    assert "b.heic" in said
    assert "new/broken.jpg: cannot be read" in said
    assert "(2 files are wrong, also one.png.)" in said
    assert not Path("out").exists()


def main_status(words):
    try:
        return main.main(words)
    except SystemExit as end:
        return end.code


def test_what_is_there_is_not_written_over(small, tmp_path, capsys):
    words = ["predict", small / "run", small / "photos" / "disks"]
    words += ["--out", tmp_path]
    (tmp_path / "contact_sheet.svg").write_text("mine")
    assert main.main([*map(str, words)]) == 2
    assert "contact_sheet.svg: exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["contact_sheet.svg"]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("model_int8.tflite", {"checks", "disks", "stripes"}),  # it holds them
        ("model.keras", {"0", "1", "2"}),
    ],
)
def test_a_file_alone_says_what_it_knows_of_classes(
    small, tmp_path, name, classes
):
    alone = tmp_path / "alone"
    alone.mkdir()
    file = shutil.copy(small / "run" / name, alone)
    image = next((small / "photos" / "disks").iterdir())
    words = ["predict", file, image, "--out", tmp_path / "out"]
    assert main.main([*map(str, words)]) == 0
    (row,) = predictions(tmp_path / "out")
    assert {row["class"], row["class_2"], row["class_3"]} == classes
    (alone / "labels.txt").write_text("one\ntwo\n")
    words[-1] = tmp_path / "other"
    assert main.main([*map(str, words)]) == 2


@pytest.mark.parametrize(
    "entry", ["pyramid_bpnet_small.digits", "bp_transformer_small.digits"]
)
def test_entries_of_the_zoo_read_photographs(entry, tmp_path):
    if not zoo.find(entry).has_weights:
        pytest.skip("the entry holds no weights")
    pixels = np.load(zoo.find(entry).path / "golden.npz")["inputs"]
    names = []
    for index, image in enumerate(pixels.reshape(-1, 32, 32)):
        names.append(tmp_path / f"{index}.png")
        Image.fromarray((255 * image).round().astype("uint8")).save(names[-1])
    out = tmp_path / "out"
    words = ["predict", entry, *names, "--out", out]
    assert main.main([*map(str, words)]) == 0
    runner = export.Runner(zoo.file(entry))
    expected = runner.predict(pixels).argmax(axis=-1)
    assert [int(row["class"]) for row in predictions(out)] == expected.tolist()


def test_outputs_of_a_softmax_are_not_softened_again():
    shares = np.array([[0.75, 0.25], [0.125, 0.875]], "float32")
    np.testing.assert_allclose(probabilities(shares), shares, rtol=1e-6)
    logits = np.log(shares) + 3
    np.testing.assert_allclose(probabilities(logits), shares, rtol=1e-5)
    eight_bits = np.floor(shares * 255) / 256
    found = probabilities(eight_bits.astype("float32"))
    np.testing.assert_allclose(found, shares, atol=0.01)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("ensemble", "are_logits"),
    [
        ({}, True),
        ({"members": 3}, True),
        ({"members": 3, "combine": "vote"}, False),
        ({"members": 3, "distill": True}, True),
    ],
)
def test_outputs_of_a_run_are_logits_unless_they_are_votes(
    ensemble, are_logits
):
    """Also counts of spikes, of which one sums to 1."""
    in_float = {"quantization": {"enabled": False}}
    recipe = Recipe.parse({"ensemble": ensemble} | in_float)
    outputs = np.array([[0.0, 1.0, 0.0], [0.25, 0.25, 0.5]], "float32")
    powers = np.exp(outputs)
    expected = powers / powers.sum(axis=-1, keepdims=True)
    found = probabilities(outputs, recipe)
    np.testing.assert_allclose(found, expected if are_logits else outputs)


def test_texts_beside_a_model_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\r\ndog\r\n", "utf-8-sig")
    kinds = ImageKinds(4095, {}).to_json()
    (tmp_path / "images.json").write_text(kinds, "utf-8-sig")
    model = OpenModel(tmp_path / "model.keras", None, (8, 8, 1), (2,))
    assert class_names_of(model) == ["cat", "dog"]
    assert images_of(model, None).white_level == 4095


def test_images_of_files_beyond_the_sheet_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_classes, "_AT_ONCE", 4)
    monkeypatch.setattr(predict_classes, "_MOST_SHOWN", 6)
    for index in range(11):
        Image.new("L", (8, 8), index).save(tmp_path / f"{index:02}.png")
    kept = []
    monkeypatch.setattr(
        predict_classes, "table_of", lambda found, _: kept.extend(found) or ""
    )
    model = OpenModel(
        tmp_path / "model.keras",
        lambda x: np.zeros((len(x), 2), "float32"),
        (8, 8, 1),
        (2,),
    )
    options = argparse.Namespace(
        images=[str(tmp_path)], out=str(tmp_path / "out"), top=None
    )
    console = Console(file=io.StringIO())
    ClassPrediction.run(model, None, options, console)
    assert [p.image is not None for p in kept] == [True] * 6 + [False] * 5
    assert [int(p.image.max()) for p in kept[:6]] == [*range(6)]
    sheet = (tmp_path / "out" / "contact_sheet.svg").read_text()
    assert sheet.count("<image") == 6
    assert "The sheet shows the first 6 images." in console.file.getvalue()


def test_votes_are_the_shares_of_the_report():
    recipe = Recipe.parse(
        {
            "data": {"name": "digits", "image_size": 8},
            "ensemble": {"members": 5, "combine": "vote"},
            "quantization": {"enabled": False},
        }
    )
    task = make_task(recipe)
    votes = np.zeros((len(task.splits.test.labels), 10), "float32")
    votes[:, 2:4] = 0.8, 0.2
    (figure,) = (x for k, x in task.figures(votes).items() if "wrong" in k)
    assert "(80%)" in figure


@pytest.mark.parametrize(
    ("inputs", "outputs", "fits"),
    [
        ((8, 8, 3), (2,), True),
        ((8, 8), (10,), True),
        ((8, 8, 4), (2,), False),
        ((8, 8, 3), (1,), False),
        ((8, 8, 3), (8, 8, 2), False),
        ((8,), (2,), False),
    ],
)
def test_models_that_label_images_are_known_by_their_shapes(
    inputs, outputs, fits, tmp_path
):
    assert ClassPrediction.fits(inputs, outputs) is fits
    if fits:
        model = OpenModel(tmp_path, lambda x: x, inputs, outputs)
        assert task_of(model, None).name == "classification"


def test_sheets_hold_every_image_and_the_whole_caption(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (6, 6, c), "uint8") for c in (1, 3) * 5]
    name = "<a class & of a very long name>"
    sheet = ET.fromstring(contact_sheet(images, [(name, "97%")] * 10))
    boxes = [
        tuple(float(image.get(key)) for key in ("x", "y", "width", "height"))
        for image in sheet.findall("{*}image")
    ]
    assert len({*boxes}) == 10
    width, height = (float(sheet.get(key)) for key in ("width", "height"))
    for left, top, wide, high in boxes:
        assert left + wide <= width
        assert top + high + 32 <= height
    titles = Counter(title.text for title in sheet.findall(".//{*}title"))
    assert titles == {name: 10, "97%": 10}
    empty = ET.fromstring(contact_sheet([], []))
    assert not empty.findall("{*}image")


def test_a_run_evaluates(small, capsys):
    assert main.main(["evaluate", str(small / "run")]) == 0
    said = capsys.readouterr().out
    assert "mean accuracy of the classes" in said
    assert "6 test examples of image_folder" in said


def test_few_steps_are_said_before_training(small):
    before, *_ = (small / "said.txt").read_text().partition(" train ")
    said = " ".join(before.split())
    assert "2 in an epoch, 2 in all" in said
    assert "raise training.epochs (250 make 500 steps)." in said


def test_accuracy_stands_beside_that_of_a_guess(small, capsys):
    run = json.loads((small / "run" / "run.json").read_text())
    beside, each = run["tables"].values()
    assert beside["rows"][0] == ["most frequent class (checks)", "33.33%"]
    assert beside["rows"][1][1] == f"{run['stages'][-1]['score']:.2%}"
    assert [row[:2] for row in each["rows"]] == [
        [name, "2"] for name in photographs.CLASSES
    ]
    assert main.main(["evaluate", str(small / "run")]) == 0
    for place in (
        capsys.readouterr().out,
        (small / "said.txt").read_text(),
        (small / "run" / "report.html").read_text(),
    ):
        assert "Accuracy beside that of a guess" in place
        assert "precision" in place  # headings may fold


def test_a_short_run_says_that_it_has_learned_too_little(small, capsys):
    assert main.main(["evaluate", str(small / "run")]) == 0
    report = (small / "run" / "report.html").read_text()
    for said in (capsys.readouterr().out, report):
        assert re.search(
            r"It is too small or too little trained \(training accuracy "
            r"\d+%\): set model\.size=small, or raise model\.width or "
            r"training\.epochs\.",
            " ".join(said.split()),
        )


def advice_for(right, count, **options):
    """Return what is said after the accuracy of so many right images."""
    labels = np.arange(count) % 3
    predicted = np.where(np.arange(count) < right, labels, (labels + 1) % 3)
    names = ("a", "b", "c")
    beside, _ = class_tables(
        predicted, labels, names, "test images", sizes=("width",), **options
    ).values()
    _, _, advice = beside.remark.partition(f"({count} test images).")
    return advice


@pytest.mark.parametrize(
    ("right", "training", "words"),
    [
        (68, 0.68, " It is too small or too little trained (training accuracy"),
        (30, 0.34, " It is too small or too little trained (training accuracy"),
        (70, 1.0, " It overfits (training accuracy 100%, here 70%): more "),
        (30, 0.75, " It is too small or too little trained (training accuracy"),
        (30, 0.8, " It overfits (training accuracy 80%, here 30%): more "),
        (85, 0.83, ""),
        (75, 0.9, ""),
        (68, None, ""),
    ],
)
def test_remark_says_why_a_network_has_not_learned(right, training, words):
    advice = advice_for(right, 100, training=training)
    assert advice.startswith(words)
    assert bool(advice) == bool(words)


@pytest.mark.parametrize("training", [0.35, 0.58, 0.79])
@pytest.mark.parametrize("right", [12, 29, 34])
def test_what_is_not_learned_must_be_learned_before_more_images_help(
    training, right
):
    """Size comes first, and more images after it where they may help too."""
    advice = advice_for(right, 42, training=training, setting="size=small")
    assert advice.startswith(
        f" It is too small or too little trained (training accuracy "
        f"{training:.0%}): set model.size=small, or raise model.width or "
        "training.epochs."
    )
    assert ("overfits" in advice) == (training - right / 42 > 0.2)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "set model.size=small, or raise model.width or training.epochs."),
        ({"size": "small"}, ": raise model.width or training.epochs."),
    ],
)
def test_remark_names_no_size_that_the_network_has(model, said):
    task = make_task(Recipe.parse({"model": model}))
    task.training_accuracy = 0.5
    outputs = np.zeros((len(task.splits.test), 10))
    remark, *_ = (table.remark for table in task.tables(outputs).values())
    assert said in remark


def test_few_test_images_do_not_show_overfitting():
    labels = np.array([0, 1, 0, 1])
    few = {"training": 1.0, "class_names": ("a", "b"), "of": "images"}
    # 3 of 4 may be chance; 30 of 40 are not.
    for times, overfits in ((1, False), (10, True)):
        more = np.tile(labels, times)
        beside, _ = class_tables(
            np.tile([0, 1, 0, 0], times), more, **few
        ).values()
        assert ("overfits" in beside.remark) == overfits


def test_training_accuracy_is_that_of_at_most_500_examples(small):
    recipe = json.loads((small / "run" / "run.json").read_text())["recipe"]
    task = make_task(Recipe.parse(recipe))
    train = task.splits.train
    task.splits = dataclasses.replace(
        task.splits, train=train.take(np.arange(600) % len(train))
    )
    asked = []

    def predict(inputs):
        asked.append(inputs)
        return np.eye(3)[np.zeros(len(inputs), int)]

    task.observe_training(predict)
    (inputs,) = asked
    assert inputs.shape == (500, 16, 16, 1)
    assert inputs.max() <= 1
    assert task.training_accuracy == pytest.approx(1 / 3, abs=0.05)


def twelve_bits(small, folder, white=4095):
    """Write photographs of 16 bits whose white is less."""
    paths = sorted((small / "photos").rglob("*.png"))
    for index, path in enumerate(paths[:4]):
        grey = np.asarray(Image.open(path).convert("L")).astype("float64")
        folder.mkdir(exist_ok=True)
        wide = (grey * white / 255).round().astype("uint16")
        Image.fromarray(wide).save(folder / f"{index}.png")
    return folder


def beside(small, folder, **images):
    """Copy the int8 file, with what images it learned from."""
    folder.mkdir()
    shutil.copy(small / "run" / "model_int8.tflite", folder)
    (folder / "images.json").write_text(json.dumps(images))
    return folder / "model_int8.tflite"


def test_the_white_level_travels_with_the_model(small, tmp_path, capsys):
    """A model alone, and one with a run, scale as in training."""
    file = beside(
        *(small, tmp_path / "own"), white_level=4095, largest={"16-bit grey": 1}
    )
    shares = []
    for model, white in ((file, 4095), (small / "run", 65535)):
        new = twelve_bits(small, tmp_path / f"new{white}", white)
        out = tmp_path / f"out{white}"
        words = ["predict", model, new, "--out", out]
        assert main.main([*map(str, words)]) == 0
        assert "Warning" not in capsys.readouterr().out
        shares.append([float(r["probability"]) for r in predictions(out)])
    np.testing.assert_allclose(*shares, atol=0.02)
    words = ["predict", file, new, "--out", tmp_path / "no"]
    assert main.main([*map(str, words)]) == 2
    assert "data.white_level is 4095" in capsys.readouterr().err


def test_new_images_of_another_kind_are_said_or_refused(
    small, tmp_path, capsys
):
    kinds = json.loads((small / "run" / "images.json").read_text())
    assert {*kinds["largest"]} == {"8-bit grey", "16-bit grey"}
    new = twelve_bits(small, tmp_path / "new")
    (new / "notes.txt").write_text("")
    words = ["predict", small / "run", new, "--out", tmp_path / "out"]
    assert main.main([*map(str, words)]) == 0
    said = capsys.readouterr().out
    assert "Warning: The 16-bit images reach" in said
    assert "passed over what is no image: notes.txt" in said
    kinds["largest"].pop("16-bit grey")
    file = beside(small, tmp_path / "own", **kinds)
    words = ["predict", file, new, "--out", tmp_path / "no"]
    assert main.main([*map(str, words)]) == 2
    assert "the model learned from 8-bit grey alone" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    recipe = tmp_path / "recipe.toml"
    run = json.loads((small / "run" / "run.json").read_text())["recipe"]
    recipe.write_text(Recipe.parse(run).to_toml())
    words = ["evaluate", file, "--recipe", recipe]
    assert main.main([*map(str, words)]) == 2
    assert "images.json: is of 8-bit grey images" in capsys.readouterr().err
    file.with_name("images.json").write_text("{}")
    words = ["predict", file, new, "--out", tmp_path / "no"]
    assert main.main([*map(str, words)]) == 2
    assert "images.json: does not say what" in capsys.readouterr().err


def test_classes_of_other_names_are_not_scored(small, tmp_path, capsys):
    for file in ("model_int8.tflite", "run.json", "labels.txt"):
        shutil.copy(small / "run" / file, tmp_path)
    labels = (tmp_path / "labels.txt").read_text()
    (tmp_path / "labels.txt").write_text(labels.replace("\n", "x\n"))
    assert main.main(["evaluate", str(tmp_path / "model_int8.tflite")]) == 2
    assert "labels.txt: is of other classes" in capsys.readouterr().err
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\n")
    photo = next((small / "photos").rglob("*.png"))
    words = [str(tmp_path / "model_int8.tflite"), str(photo), "--out"]
    assert main.main(["predict", *words, str(tmp_path / "out")]) == 2
    assert "labels.txt: cannot be read" in capsys.readouterr().err
