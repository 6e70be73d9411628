"""Runs for images with masks."""

import io
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from kbp import __main__ as main
from kbp import export, training
from kbp.data.images.search import SUFFIXES
from kbp.errors import UserError
from kbp.inference import pixels
from kbp.recipes import Recipe
from kbp.reports.stage import POST_TRAINING
from kbp.tasks import make_task
from kbp.tasks.segmentation import MaskAugmentationConfig

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noisy bright disks, and where they are."""
    folder = tmp_path_factory.mktemp("disks")
    y, x = np.mgrid[:16, :16]
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for number in range(60):
        row, column = RNG.integers(5, 11, 2)
        mask = (y - row) ** 2 + (x - column) ** 2 < 16
        image = 80 + 90 * mask + RNG.normal(0, 15, mask.shape)
        for part, values in (("images", image), ("masks", mask * 255)):
            picture = Image.fromarray(np.clip(values, 0, 255).astype("uint8"))
            picture.save(folder / part / f"{number}.png")
    return folder


def recipe(folder, **sections):
    own = {
        "name": "image_masks",
        "images": str(folder / "images"),
        "masks": str(folder / "masks"),
        "class_names": ["ground", "disk"],
    }
    data = {**own, **sections.pop("data", {})}
    return Recipe.parse(
        {
            "model": {"width": 8},
            "data": data,
            "augmentation": {"flip": True},
            "loss": {"dice_weight": 1.0},
            "optimizer": {"learning_rate": 0.02},
            "sparsity": {"target": 0.3},
            "training": {"epochs": 6, "batch_size": 8},
            "quantization": {"epochs": 1},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    console = Console(file=io.StringIO(), width=120)
    return workdir, training.run(recipe(folder), workdir, console=console)


@pytest.mark.long
def test_masks_are_learned_and_shipped(finished, capsys):
    workdir, stages = finished
    assert stages[0].score > 0.85
    assert abs(stages[-1].score - stages[0].score) < 0.03
    report = (workdir / "report.html").read_text()
    assert "<th>Dice</th>" in report
    assert "Masks of the int8 file" in report
    assert main.main(["evaluate", str(workdir)]) == 0
    out = capsys.readouterr().out
    for name in ("Dice", "Dice of disk, of the images", "IoU of disk, of the"):
        assert name in out
        assert name in report
    for stage in stages[1:]:
        if stage.name != POST_TRAINING:  # which no file is left of
            assert f"{stage.score:.2%}" in out


def test_masks_of_12_bits_are_those_of_8(finished, tmp_path, capsys):
    """A model alone scales by the white level that lies beside it."""
    narrow = RNG.integers(0, 256, (16, 16)).astype("uint8")
    narrow[0, 0] = 255
    wide = (narrow * (4095 / 255)).round().astype("uint16")
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(finished[0] / "model_int8.tflite", own)
    kinds = {"white_level": 4095, "largest": {"16-bit grey": 4095}}
    (own / "images.json").write_text(json.dumps(kinds))
    masks = []
    for model, values in ((own, wide), (finished[0], narrow)):
        Image.fromarray(values).save(tmp_path / "a.png")
        model = model / "model_int8.tflite"
        out = tmp_path / f"out{len(masks)}"
        words = ["predict", model, tmp_path / "a.png", "--out", out]
        assert main.main([*map(str, words)]) == 0
        assert "Warning" not in capsys.readouterr().out
        masks.append(np.asarray(Image.open(out / "a.png")))
    assert np.mean(masks[0] == masks[1]) > 0.99
    Image.fromarray(wide).save(tmp_path / "a.png")
    words = ["predict", finished[0], tmp_path / "a.png", "--out", own / "out"]
    assert main.main([*map(str, words)]) == 2
    assert "images reach 4095 of 65535" in capsys.readouterr().err
    assert not (own / "out").exists()


def test_dark_images_are_said_before_training(folder, tmp_path):
    shutil.copytree(folder / "masks", tmp_path / "masks")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("")
    for path in (folder / "images").iterdir():
        wide = np.asarray(Image.open(path)).astype("uint16") * 16
        Image.fromarray(wide).save(tmp_path / "images" / path.name)
    passed, dark = make_task(recipe(tmp_path)).warnings()
    assert "passed over what is no image: notes.txt" in passed
    assert dark.endswith("set data.white_level = 4095.")
    scaled = make_task(recipe(tmp_path, data={"white_level": 4080}))
    assert scaled.warnings()[1:] == []
    plain = make_task(recipe(folder))
    np.testing.assert_allclose(
        scaled.inputs("train"), plain.inputs("train"), atol=1e-6
    )


@pytest.mark.parametrize("file", ["", "model.keras"])
def test_predict_labels_images_of_any_size(finished, tmp_path, file, capsys):
    y, x = np.mgrid[:40, :23]
    disks = ((y % 20 - 10) ** 2 + (x - 11) ** 2) < 16
    image = np.clip(80 + 90 * disks + RNG.normal(0, 15, disks.shape), 0, 255)
    (tmp_path / "in").mkdir()
    Image.fromarray(image.astype("uint8")).save(tmp_path / "in" / "two.tif")
    small = Image.fromarray(image[:9, :9].astype("uint8"))
    small.save(tmp_path / "small.png")
    out = tmp_path / f"[bold]{'long' * 30}"
    words = ["predict", finished[0] / file, tmp_path / "in"]
    words += [tmp_path / "small.png", "--out", out, "--overlap", "8"]
    assert main.main([*map(str, words)]) == 0
    said = [f"Written: {out / name}" for name in ("two.png", "small.png")]
    assert capsys.readouterr().out.splitlines() == said
    mask = np.asarray(Image.open(out / "two.png"))
    assert mask.shape == (40, 23)
    assert set(np.unique(mask)) == {0, 255}
    both = np.sum((mask > 0) & disks)
    assert 2 * both / (np.sum(mask > 0) + disks.sum()) > 0.8
    overlay = np.asarray(Image.open(out / "two_overlay.png")).astype(int)
    grey = overlay.max(axis=-1) == overlay.min(axis=-1)
    assert not grey[mask > 0].any()
    assert grey[mask == 0].all()
    assert np.asarray(Image.open(out / "small.png")).shape == (9, 9)


def test_task_of_a_file_without_a_recipe_is_found_by_its_shapes(
    finished, folder, tmp_path, capsys
):
    file = tmp_path / "model_int8.tflite"
    shutil.copyfile(finished[0] / file.name, file)
    image, out = folder / "images" / "0.png", tmp_path / "out"
    words = ["predict", file, image, "--out", out]
    assert main.main([*map(str, words)]) == 0
    assert (out / "0_overlay.png").is_file()
    with pytest.raises(SystemExit) as stop:
        main.main(["predict", str(file), "--help"])
    assert stop.value.code == 0
    assert "--overlap" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main.main(["predict", str(file), str(image), "--out", "x", "--odd"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    odd = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    export.to_tflite(odd, file)
    assert main.main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert "must label pixels" in error
    assert "takes (4, 4, 2) and gives (1,)" in error


def test_predict_writes_nothing_if_something_is_wrong(
    finished, folder, tmp_path, capsys
):
    image = folder / "images" / "0.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_text("none")
    (tmp_path / "two").mkdir()
    for name in ("a.gif", "b.png"):
        (tmp_path / "two" / name).write_text("none")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "0_overlay.png").write_text("mine")
    out = tmp_path / "out"
    for words, message in (
        (["nowhere.tflite", image, "--out", out], "nowhere.tflite: no such"),
        (["nobody", image, "--out", out], "nobody: no such file or folder"),
        (
            [tmp_path / "empty", image, "--out", out],
            "holds none of model.keras",
        ),
        ([finished[0], tmp_path / "no", "--out", out], "no: no such file"),
        ([finished[0], tmp_path / "empty", "--out", out], "holds no image"),
        ([finished[0], image, image, "--out", out], "two images would be"),
        (
            [finished[0], image, tmp_path / "broken.png", "--out", out],
            "broken.png: cannot be read",
        ),
        (
            [finished[0], tmp_path / "two", image, "--out", out],
            f"other kinds: a.gif. Known suffixes are {', '.join(SUFFIXES)}. "
            f"{tmp_path / 'two' / 'b.png'}: cannot be read",
        ),
        (
            [finished[0], image, "--out", out, "--overlap", "16"],
            "--overlap must be less than 16",
        ),
        ([finished[0], image, "--out", tmp_path / "old"], "exists. Choose"),
    ):
        assert main.main(["predict", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not out.exists()
    assert (tmp_path / "old" / "0_overlay.png").read_text() == "mine"


@pytest.mark.slow
def test_colored_tiles_of_three_classes_are_learned(tmp_path):
    data = tmp_path / "data"
    for part in ("train", "validation", "test"):
        (data / "masks" / part).mkdir(parents=True)
        (data / "images" / part).mkdir(parents=True)
        for number in range(8 if part == "train" else 2):
            labels = np.repeat(RNG.integers(0, 3, (3, 4)), 8, axis=0)
            labels = np.repeat(labels, 8, axis=1)[:20]  # 20 x 32 pixels
            image = np.eye(3)[labels] * 150 + RNG.integers(0, 90, (20, 32, 3))
            name = f"{part}/{number}.png"
            Image.fromarray(image.astype("uint8")).save(data / "images" / name)
            mask = Image.fromarray((labels * 7).astype("uint8"))
            mask.save(data / "masks" / name)
    sections = {
        "color": True,
        "class_names": ["red", "green", "blue"],
        "mask_values": [0, 7, 14],
        "split": "folders",
        "tile_size": 16,
    }
    console = Console(file=io.StringIO(), width=120)
    folder = tmp_path / "run"
    chosen = recipe(data, data=sections, sparsity={"target": 0.0})
    *_, int8 = training.run(chosen, folder, console=console)
    assert int8.score > 0.9
    report = (folder / "report.html").read_text()
    assert "IoU of green, of the pixels" in report
    assert "IoU of blue, of the images" in report
    picture = Image.open(data / "images" / "test" / "0.png")
    picture.convert("RGBA").save(tmp_path / "opaque.png")
    out = tmp_path / "out"
    words = ["predict", folder, tmp_path / "opaque.png", "--out", out]
    assert main.main([*map(str, words)]) == 0
    mask = np.asarray(Image.open(out / "opaque.png"))
    expected = np.asarray(Image.open(data / "masks" / "test" / "0.png")) // 7
    assert np.mean(mask == expected) > 0.9
    # It labels no pixels, so it says something else of the same files.
    words[1:] = ["pyramid_bpnet_small.digits", *words[2:-1], tmp_path / "new"]
    assert main.main([*map(str, words)]) == 0
    assert (tmp_path / "new" / "predictions.csv").is_file()


def test_masks_of_several_classes_are_indexed():
    labels = RNG.integers(0, 4, (5, 6))
    image = Image.open(io.BytesIO(pixels.mask_as_png(labels, 4)))
    np.testing.assert_array_equal(np.asarray(image), labels)
    colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) == 4


def test_recipe_of_masks_is_written_and_read_again(folder):
    written = recipe(
        folder, data={"mask_values": [0, 255]}, augmentation={"elastic": 2}
    )
    assert written.task.section(MaskAugmentationConfig).elastic == 2.0
    assert written.data.config.mask_values == (0, 255)
    again = Recipe.parse(written.to_dict())
    assert again == written


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"name": "image_mask"}}, "data.name: .*mean 'image_masks'"),
        ({"data": {"mask_values": ["a"]}}, "an item of data.mask_values"),
        ({"data": {"image_size": 3}}, "unknown key data.image_size"),
        ({"data": {"images": ""}}, "data.images must name a folder"),
        ({"data": {"split": "lists", "lists": "none"}}, "none/train.txt"),
        ({"data": {"split": "folders"}}, "these are in none: 0, 1"),
        ({"data": {"name": "dsb2018"}}, r"unknown key data\.images"),
        ({"data": {"split": "fold", "fold": 5}}, "fold must be 0 to 4"),
        ({"data": {"fold": 3}}, "data.fold has no effect: .* is 'hash'"),
        ({"data": {"lists": "nowhere"}}, "data.lists has no effect"),
        ({"loss": {"class_weights": [1, 2, 3]}}, "class_weights must be 2"),
        ({"loss": {"class_weights": [1, -2]}}, r"\[loss\] Argument"),
        ({"training": {"batch_size": 64}}, "training.batch_size must be at"),
    ],
)
def test_what_does_not_fit_is_named(folder, sections, message):
    with pytest.raises(UserError, match=message):
        make_task(recipe(folder, **sections))


def test_models_without_the_head_are_refused(folder):
    task = make_task(recipe(folder, model={"architecture": "bp_transformer"}))
    with pytest.raises(UserError, match=r"must be one of .*segmentation"):
        task.build()
