"""A folder for each class."""

import shutil
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import photographs
import pytest
from PIL import Image

from kbp._utils import machine
from kbp.data.formats import image_folder
from kbp.data.images import photographs as reading
from kbp.data.images.class_folders import ClassFolders
from kbp.data.splits import as_floats
from kbp.data.splitting import SPLITS, by_class
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    photographs.write(folder, 10)
    return folder


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "photos")


def load(folder, **options):
    return image_folder.load(folder, image_size=16, **options)


def splits_of(folder, **options):
    splits = load(folder, **options)
    return {name: getattr(splits, name) for name in SPLITS}


def test_each_class_is_split_alike(folder):
    splits = load(folder)
    assert splits.class_names == photographs.CLASSES
    assert splits.input_shape == (16, 16, 3)
    for name, count in (("train", 7), ("validation", 1), ("test", 2)):
        part = getattr(splits, name)
        assert part.inputs.dtype == np.uint8
        assert part.labels.tolist() == [0] * count + [1] * count + [2] * count
    again = load(folder)
    np.testing.assert_array_equal(again.test.inputs, splits.test.inputs)
    without = load(folder, validation_fraction=0.0)
    assert len(without.validation) == 0
    assert load(folder, channels=1).input_shape == (16, 16, 1)


def test_what_managers_of_files_leave_is_passed_over(folder):
    (folder / ".DS_Store").write_text("")
    (folder / ".thumbnails").mkdir()
    (folder / "disks" / "Thumbs.db").write_text("")
    assert load(folder).class_names == photographs.CLASSES


def test_what_else_is_passed_over_is_said_in_one_line(folder):
    assert load(folder).remarks == ()
    (folder / "disks" / ".DS_Store").write_text("")
    (folder / "disks" / "more").mkdir()
    for name in ("notes.txt", "more/labels.csv"):
        (folder / "disks" / name).write_text("")
    (folder / "checks" / "no suffix").write_text("")
    (remark,) = make_task(recipe(folder)).warnings()
    assert remark == (
        f"{folder}: passed over what is no image: checks/no suffix, "
        "disks/more/labels.csv, disks/notes.txt."
    )


def test_folders_of_many_classes_are_resolved_once(tmp_path, monkeypatch):
    counts, resolve = Counter(), Path.resolve
    for count in (10, 40):
        for index in range(count):
            place = tmp_path / str(count) / f"c{index}"
            place.mkdir(parents=True)
            Image.new("L", (4, 4)).save(place / "a.png")

        def counted(path, *_, count=count):
            counts[count] += 1
            return resolve(path)

        monkeypatch.setattr(Path, "resolve", counted)
        assert len(ClassFolders(tmp_path / str(count)).paths) == count
    assert counts[40] <= 4 * counts[10]


def test_links_are_followed_and_not_in_circles(folder, tmp_path):
    """Whatever is linked: a file, a folder of files, a class."""
    plain = load(folder)
    away = tmp_path / "away"
    shutil.move(folder / "stripes", away / "stripes")
    (folder / "stripes").symlink_to(away / "stripes")
    shutil.move(folder / "disks", away / "all")
    (folder / "disks" / "sub").mkdir(parents=True)
    (away / "some").mkdir()
    for index, path in enumerate(sorted((away / "all").iterdir())):
        if index < 5:
            (folder / "disks" / path.name).symlink_to(path)
        else:
            path.rename(away / "some" / path.name)
    (folder / "disks" / "linked").symlink_to(away / "some")
    (folder / "disks" / "sub" / "up").symlink_to(folder / "disks")
    (away / "some" / "round").symlink_to(away / "some")
    linked = load(folder)
    counts = [
        Counter(np.concatenate([getattr(x, s).labels for s in SPLITS]).tolist())
        for x in (plain, linked)
    ]
    assert counts[0] == counts[1] == {0: 10, 1: 10, 2: 10}
    (folder / "disks" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png: cannot be read: it is no"):
        load(folder)


def test_links_out_of_a_class_are_not_followed_and_are_said(folder):
    plain = load(folder)
    (folder / "disks" / "up").symlink_to(folder)
    (folder / "disks" / "far").symlink_to("/")
    (folder / "checks" / "deep").mkdir()
    (folder / "checks" / "deep" / "other").symlink_to(folder / "stripes")
    (folder / "checks" / "notes.txt").touch()
    linked = load(folder)
    for split in SPLITS:
        counts = [
            np.bincount(getattr(x, split).labels).tolist()
            for x in (plain, linked)
        ]
        assert counts[0] == counts[1]
    (remark,) = make_task(recipe(folder)).warnings()
    assert remark == (
        f"{folder}: passed over what is no image: checks/notes.txt; and 3 "
        "links to a folder above or another class's: checks/deep/other, "
        "disks/far, disks/up."
    )


def test_copies_in_two_splits_are_named_by_their_files(tmp_path):
    for index, name in enumerate(("train", "test")):
        photographs.write(tmp_path / name, 5, seed=index)
    for index in range(4):
        kept = sorted((tmp_path / "train" / "disks").iterdir())[index]
        copy = f"copy{index}{kept.suffix}"
        shutil.copy(kept, tmp_path / "test" / "checks" / copy)
    (sentence,) = make_task(recipe(tmp_path)).warnings()
    assert sentence.startswith("4 of 19 test examples are in the train split")
    assert "(test/checks/copy0.jpg = train/disks/000.jpg, " in sentence
    assert sentence.count(" = ") == 3


@pytest.mark.parametrize("names", [SPLITS, ("train", "test")])
def test_folders_of_splits_are_kept(drawn, names, tmp_path):
    for name in names:
        shutil.copytree(drawn, tmp_path / name)
    shutil.rmtree(tmp_path / "train")
    photographs.write(tmp_path / "train", 2, seed=1)
    counts = {name: len(x) for name, x in splits_of(tmp_path).items()}
    validation = 30 if "validation" in names else 0
    assert counts == {"train": 6, "validation": validation, "test": 30}
    splits = load(tmp_path)
    np.testing.assert_array_equal(splits.test.labels, np.repeat([0, 1, 2], 10))


def test_batches_hold_what_the_files_hold(folder):
    task = make_task(recipe(folder))
    images, labels = next(iter(task.batches("test", 4)))
    held = task.splits.test
    assert images.dtype == "float32"
    np.testing.assert_array_equal(images, as_floats(held.inputs[:4]))
    np.testing.assert_array_equal(images, held.inputs[:4] / np.float32(255))
    np.testing.assert_array_equal(labels, held.labels[:4])
    np.testing.assert_array_equal(task.inputs("test")[:4], images)
    trained, _ = next(iter(task.training_batches(seed=0)))
    assert 0 <= float(np.min(trained)) <= float(np.max(trained)) <= 1


def recipe(folder, **sections):
    data = {"name": "image_folder", "folder": str(folder), "image_size": 16}
    data |= sections.pop("data", {})
    return Recipe.parse(
        {"data": data, "training": {"batch_size": 4}, **sections}
    )


def test_unequal_classes_count_alike(folder):
    for path in sorted((folder / "disks").iterdir())[3:]:
        path.unlink()
    task = make_task(recipe(folder, loss={"balance": True}))
    counts = np.bincount(task.splits.train.labels)
    assert counts.tolist() == [7, 1, 7]
    weights = np.array(task.loss.class_weights)
    np.testing.assert_allclose(weights * counts, 15 / 3)
    logits = np.random.default_rng(0).normal(size=(15, 3)).astype("float32")
    labels = task.splits.train.labels
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    each = [-log_p[labels == k, k].mean() for k in range(3)]
    assert float(task.loss(labels, logits)) == pytest.approx(
        np.mean(each), rel=1e-5
    )
    with pytest.raises(UserError, match=r"class_weights must not be given"):
        make_task(
            recipe(folder, loss={"balance": True, "class_weights": [1, 2, 3]})
        )


def test_groups_stay_together(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for patient in range(12):
            for view in range(patient % 3 + 1):
                path = tmp_path / name / f"p{patient:02d}-{view}"
                pixels = rng.integers(0, 256, (8, 8, 3), "uint8")
                photographs.save(path, pixels, "bitmap")
    names = [
        p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.bmp")
    ]
    groups = [name[2:5] for name in names]
    found = by_class(names, [name[0] for name in names], groups=groups)
    held = {s: {groups[i] for i in chosen} for s, chosen in found.items()}
    assert not held["train"] & held["test"]
    assert not held["train"] & held["validation"]
    assert not held["validation"] & held["test"]
    assert sorted(chain(*found.values())) == [*range(len(names))]
    loaded = splits_of(tmp_path, group_pattern=r"^(p\d+)")
    assert {k: len(v) for k, v in loaded.items()} == {
        "train": 32,
        "validation": 4,
        "test": 12,  # five of each class were asked for
    }
    with pytest.raises(UserError, match=r"finds no group in .*p00-0\.bmp, "):
        load(tmp_path, group_pattern=r"q(\d+)")
    with pytest.raises(UserError, match=r"must have a group .*'p\\\\d'"):
        load(tmp_path, group_pattern=r"p\d")
    with pytest.raises(
        UserError, match=r"group_pattern: no regular expression"
    ):
        load(tmp_path, group_pattern=r"(p")


def test_groups_that_folders_of_splits_tear_apart_are_named(drawn, tmp_path):
    for name in ("train", "test"):
        shutil.copytree(drawn, tmp_path / name)
    pattern = r"^(\d+)"
    with pytest.raises(UserError, match=r"group '000' .* in train and in test"):
        load(tmp_path, group_pattern=pattern)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.34])
def test_splits_by_class_are_as_large_as_asked(share):
    labels = ["a"] * 50 + ["b"] * 9 + ["c"] * 3
    names = [f"{label}/{i}" for i, label in enumerate(labels)]
    found = by_class(
        names, labels, validation_fraction=share, test_fraction=share
    )
    for split in ("validation", "test"):
        counts = Counter(labels[i] for i in found[split])
        for label in "abc":
            assert counts[label] == max(1, round(share * labels.count(label)))
    assert sorted(chain(*found.values())) == [*range(len(labels))]
    shuffled = by_class(
        names[::-1],
        labels[::-1],
        validation_fraction=share,
        test_fraction=share,
    )
    for split, chosen in found.items():
        assert {names[i] for i in chosen} == {
            names[::-1][i] for i in shuffled[split]
        }


def move(folder, *names):
    """Make a folder of splits of a folder of classes."""
    for name in names:
        shutil.copytree(folder, folder.parent / "new" / name)
    shutil.rmtree(folder)
    (folder.parent / "new").rename(folder)


def keep(folder, name, count):
    for path in sorted((folder / name).iterdir())[count:]:
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: shutil.rmtree(f), "photos: no such folder"),
        (lambda f: keep(f, "disks", 0), "photos/disks: holds no image"),
        (
            lambda f: keep(f, "disks", 2),
            "class 'disks' has 2 examples, too few",
        ),
        (
            lambda f: [shutil.rmtree(f / x) for x in ("disks", "checks")],
            "photos: must hold a folder .*two or more.*holds one, stripes",
        ),
        (
            lambda f: [shutil.rmtree(x) for x in f.iterdir()],
            r"photos: must hold .*two or more classes; holds none",
        ),
        (
            lambda f: (f / "disks" / "1.heic").write_text(""),
            "photos: holds images of other kinds: disks/1.heic. Known",
        ),
        (
            lambda f: (f / "readme.md").write_text(""),
            "photos: must hold folders alone; holds files: readme.md",
        ),
        (
            lambda f: (f / "disks" / "001.png").write_bytes(b"no"),
            r"photos/disks/001\.png: cannot be read: ",
        ),
        (lambda f: move(f, "train"), "photos: holds train, and no folder test"),
        (
            lambda f: move(f, "train", "test", "valid"),
            "photos: holds train, so .* validation and test; found valid",
        ),
        (
            lambda f: [
                move(f, "train", "test"),
                shutil.rmtree(f / "test/disks"),
            ],
            "photos/test: has no folder of class disks",
        ),
        (
            lambda f: [
                move(f, "train", "test"),
                shutil.rmtree(f / "train/disks"),
            ],
            "photos/test: has what train has not: disks",
        ),
        (
            lambda f: [move(f, "train", "test"), keep(f / "test", "disks", 0)],
            "photos/test/disks: holds no image",
        ),
    ],
)
def test_what_is_wrong_is_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message):
        load(folder)


@pytest.mark.parametrize("split", [False, True])
def test_all_files_that_are_refused_are_named_in_one_error(folder, split):
    parts = ["", ""]
    if split:
        move(folder, "train", "test")
        parts = ["train/", "test/"]
    first, second = (folder / part for part in parts)
    for place in (first / "checks", second / "disks"):
        good = min(place.glob("*.png"))
        good.write_bytes(good.read_bytes()[:50])
    with pytest.raises(UserError, match="cannot be read: ") as error:
        load(folder)
    assert "other kinds" not in str(error.value)
    assert "(2 files are wrong, also " in str(error.value)
    (first / "stripes" / "x.heic").write_text("")
    (second / "disks" / "y.gif").write_text("")
    with pytest.raises(UserError, match="cannot be read: ") as error:
        load(folder)
    (line,) = str(error.value).splitlines()
    for named in ("stripes/x.heic", "disks/y.gif", "checks/", "disks/"):
        assert named in line
    assert "holds images of other kinds: " in line
    assert "(2 files are wrong, also " in line


def test_class_of_files_of_other_kinds_alone_is_refused_for_these(folder):
    for path in (folder / "disks").iterdir():
        path.rename(path.with_suffix(".gif"))
    with pytest.raises(UserError, match=r"other kinds: disks/.*\.gif, "):
        load(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"folder": ""}, "data.folder must name a folder"),
        ({"resize": "zoom"}, "data.resize: unknown 'zoom'"),
        ({"image_size": 4}, "data.image_size must be at least 8"),
        ({"test_fraction": 0.0}, "data.test_fraction must be more than 0"),
        ({"colour": True}, "unknown key data.colour; did you mean 'color'"),
    ],
)
def test_keys_must_fit(folder, data, message):
    with pytest.raises(UserError, match=message):
        make_task(recipe(folder, data=data))


def test_shares_of_folders_of_splits_cannot_be_changed(folder):
    move(folder, "train", "test")
    with pytest.raises(UserError, match=r"test_fraction has no effect: .*is"):
        make_task(recipe(folder, data={"test_fraction": 0.3}))


def test_images_that_would_not_fit_into_memory_are_refused(folder, monkeypatch):
    memory = machine.memory()
    assert 10**8 < memory < 10**14
    monkeypatch.setattr(reading, "memory", lambda: 10**5)
    with pytest.raises(
        UserError,
        match=r"30 images of 16x16 .*data\.image_size to at most 13, or ",
    ):
        load(folder)
    # Three bytes of each value of 30 images of 13 x 13 x 3 are 45,630.
    splits = image_folder.load(folder, image_size=13)
    assert splits.input_shape == (13, 13, 3)
    with pytest.raises(
        UserError, match=r"need 0\.0 GB, and half of the memory"
    ):
        image_folder.load(folder, image_size=14)


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "val")])
def test_splits_of_other_names_are_no_classes(folder, names):
    for name in names:
        shutil.copytree(folder, folder.parent / "odd" / name)
    with pytest.raises(UserError, match="splits are named train, validation"):
        load(folder.parent / "odd")
