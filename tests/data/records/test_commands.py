"""`kbp pack` and `kbp inspect`, and a recipe over what was packed."""

import photographs
import pytest
from PIL import Image

from kbp.__main__ import main
from kbp.data.images.kinds import ImageKinds
from kbp.recipes import Recipe
from kbp.tasks import make_task

pytest.importorskip("array_record", reason="needs kbp[records]")

RECIPE = '[data]\nname = "digits"\nimage_size = 8\n'


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    (folder / "my.toml").write_text(RECIPE)
    arguments = ["pack", folder / "my.toml", "--out", folder / "p"]
    assert main([*map(str, arguments), "--shards", "2"]) == 0
    return folder


@pytest.mark.long
def test_what_pack_says_is_a_recipe_of_the_same_batches(
    packed, capsys, monkeypatch
):
    monkeypatch.chdir(packed)
    assert main(["pack", "my.toml", "--out", "p", "--shards", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("kept") == 4
    (packed / "records.toml").write_text(said[said.index("[data]") :])
    one = make_task(Recipe.read(packed / "my.toml"))
    other = make_task(Recipe.read(packed / "records.toml"))
    for name in ("train", "validation", "test"):
        pairs = zip(one.batches(name), other.batches(name), strict=True)
        for (x, y), (u, v) in pairs:
            assert (x.numpy() == u.numpy()).all()
            assert (y.numpy() == v.numpy()).all()


def test_packing_says_how_images_were_resized(tmp_path, capsys):
    photographs.write(tmp_path / "photos", 20)
    sections = {"name": "image_folder", "folder": str(tmp_path / "photos")}
    sections |= {"image_size": 8, "resize": "pad", "validation_fraction": 0}
    recipe = Recipe.parse({"data": sections})
    (tmp_path / "my.toml").write_text(recipe.to_toml())
    out = tmp_path / "packed \U0001f600"
    assert main(["pack", str(tmp_path / "my.toml"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    (tmp_path / "records.toml").write_text(said[said.index("[data]") :])
    files = make_task(Recipe.read(tmp_path / "records.toml")).files()
    assert files["images.json"] == make_task(recipe).files()["images.json"]
    assert ImageKinds.from_json(files["images.json"]).resize == "pad"


def test_inspect_shows_what_is_there(packed, capsys, tmp_path):
    sheet = tmp_path / "sheet.svg"
    words = ["inspect", str(packed / "p"), "--sheet", str(sheet)]
    assert main(words) == 0
    said = capsys.readouterr().out
    for text in ("1,293", "8x8x1", "class 3: ", "as it was packed", "digits"):
        assert text in said
    assert sheet.read_text().count("<image") == 64
    assert main(words) == 2  # never over a file
    assert "exists" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "sheet.png")]) == 2
    assert "sheet.png: is SVG; name it FILE.svg" in capsys.readouterr().err


def test_inspect_names_damage(packed, capsys, tmp_path):
    import shutil

    copy = shutil.copytree(packed / "p", tmp_path / "p")
    lost, cut = sorted(copy.glob("train*"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    assert main(["inspect", str(copy)]) == 2
    said = capsys.readouterr().err
    assert f"{lost}: missing" in said
    assert f"{cut}: has" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[data]\nname = 'records'\n", "data.folder must name"),
        ("[data]\nname = 'records'\nfolder = 'none'\n", "no such folder"),
        ("[data]\nname = 'records'\nfolder = '.'\n", "no index.json"),
        (
            "[data]\nname = 'records'\nfolder = 'p'\n[task]\n"
            "name = 'segmentation'\n",
            "does not fit data.name 'records'",
        ),
    ],
)
def test_recipes_that_do_not_fit_are_refused(
    packed, capsys, monkeypatch, text, words
):
    monkeypatch.chdir(packed)
    (packed / "wrong.toml").write_text(text)
    assert main(["train", "wrong.toml", "--workdir", "w"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (packed / "w" / "model.keras").exists()


def test_a_folder_of_images_is_no_packing(tmp_path, capsys):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "r.toml").write_text(
        f"[data]\nname = 'records'\nfolder = '{tmp_path}'\n"
    )
    words = ["train", f"{tmp_path}/r.toml", "--workdir", f"{tmp_path}/w"]
    assert main(words) == 2
    assert 'name = "image_folder" reads these' in capsys.readouterr().err


def test_tables_are_not_packed(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(
        "a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(80))
    )
    (tmp_path / "t.toml").write_text(
        f"[data]\nname = 'csv_table'\nfile = '{tmp_path}/a.csv'\ntarget = 'b'\n"
    )
    assert main(["pack", f"{tmp_path}/t.toml", "--out", f"{tmp_path}/p"]) == 2
    assert "images with classes or masks" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_photographs_keep_their_names(tmp_path):
    for split, count in (("train", 6), ("test", 4)):
        for i in range(count):
            path = tmp_path / "photos" / split / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (40 * i, 0, 200)).save(path)
    text = (
        f"[data]\nname = 'image_folder'\nfolder = '{tmp_path}/photos'\n"
        "image_size = 8\n"
    )
    (tmp_path / "r.toml").write_text(text)
    assert main(["pack", f"{tmp_path}/r.toml", "--out", f"{tmp_path}/p"]) == 0
    recipe = {"data": {"name": "records", "folder": f"{tmp_path}/p"}}
    recipe["training"] = {"batch_size": 2}
    task = make_task(Recipe.parse(recipe))
    assert task.splits.test.names[0] == "test/a/0.png"
    assert "8-bit color" in task.files()["images.json"]
