"""Images that are not in memory: on the disk, or decoded when needed."""

import os
import shutil

import numpy as np
import photographs
import pytest

from kbp import data
from kbp.data import cache
from kbp.data.checks.leaks import shared_examples
from kbp.data.formats import image_folder
from kbp.data.images import photographs as reading
from kbp.data.splitting import SPLITS
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

LAZY = ("none", "disk")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    photographs.write(folder, 10)
    return folder


@pytest.fixture
def folder(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(drawn, tmp_path / "photos")


def load(folder, mode, **options):
    return image_folder.load(folder, image_size=16, mode=mode, **options)


@pytest.mark.long
@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_those_of_images_in_memory(folder, mode, channels):
    known = load(folder, "memory", channels=channels)
    for _ in range(2):  # the second time, of what is kept
        found = load(folder, mode, channels=channels)
        assert (found.class_names, found.images) == (
            known.class_names,
            known.images,
        )
        for name in SPLITS:
            a, b = (getattr(x, name) for x in (found, known))
            assert a.names == b.names
            assert a.inputs.dtype == b.inputs.dtype
            np.testing.assert_array_equal(a.inputs[:], b.inputs)
            np.testing.assert_array_equal(a.labels, b.labels)
        for step in (0, 3):
            batches = (
                data.training_batches(x.train, 4, seed=1, start_step=step)
                for x in (found, known)
            )
            for pair in zip(*(x.take(9) for x in batches), strict=True):
                for x, y in zip(*pair, strict=True):
                    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("mode", LAZY)
def test_where_images_are_is_said_in_a_line(folder, mode):
    recipe = Recipe.parse(
        {
            "data": {
                "name": "image_folder",
                "folder": str(folder),
                "image_size": 16,
                "cache": mode,
            },
            "training": {"batch_size": 4},
        }
    )
    task = make_task(recipe)
    first, *more = task.describe().splitlines()
    assert first == "21 training, 3 validation, 6 test examples"
    assert more == [
        {
            "none": "Examples are decoded from their files whenever they are "
            "needed.",
            "disk": "Decoded examples are kept on the disk (0.0 GB).",
        }[mode]
    ]
    assert task.warnings() == []
    memory = recipe.with_settings(["data.cache=memory"])
    assert len(make_task(memory).describe().splitlines()) == 1


@pytest.mark.parametrize("mode", LAZY)
def test_files_are_looked_at_once_for_several_runs(folder, mode, monkeypatch):
    first = load(folder, mode)

    def fail(*args, **kwargs):
        raise AssertionError("an image is read")

    monkeypatch.setattr(reading, "read_photographs", fail)
    again = load(folder, mode)
    assert again.images == first.images
    inputs = {name: getattr(again, name).inputs for name in SPLITS}
    assert shared_examples(inputs) == []
    if mode == "disk":
        assert again.train.inputs[:].any()


@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize("change", ["content", "time", "new", "gone"])
def test_files_that_have_changed_are_read_again(folder, mode, change):
    assert load(folder, mode).remarks == ()
    path = next((folder / "disks").iterdir())
    other = next((folder / "checks").iterdir())
    if change == "content":
        path.write_bytes(other.read_bytes())
    elif change == "time":
        os.utime(path, (1, 1))
    elif change == "new":
        shutil.copy(other, folder / "disks" / "zz.png")
    else:
        path.unlink()
    (remark,) = load(folder, mode).remarks
    assert remark == f"{folder}: has changed since it was last read."
    found, known = load(folder, mode), load(folder, "memory")
    assert found.remarks == ()
    np.testing.assert_array_equal(found.train.inputs[:], known.train.inputs)
    kept = [x for x in cache.root().iterdir() if x.is_dir()]
    assert len(kept) == 1  # what was kept before is gone


@pytest.mark.parametrize("mode", LAZY)
def test_damaged_files_are_named_before_training(folder, mode):
    path = next((folder / "disks").iterdir())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{path}: cannot be read"):
        load(folder, mode)
    assert not [*cache.root().iterdir()]  # nothing half-written


def test_a_file_that_is_damaged_later_is_named_when_it_is_read(folder):
    inputs = load(folder, "none").train.inputs
    path = next((folder / "disks").iterdir())
    path.write_bytes(b"")
    with pytest.raises(UserError, match=f"{path}: cannot be read"):
        inputs[:]


def test_a_file_of_the_cache_that_is_cut_off_is_named(folder):
    inputs = load(folder, "disk").train.inputs
    (file,) = cache.root().glob("*/0.bin")
    os.truncate(file, 1000)
    for read in (lambda: inputs[:], lambda: load(folder, "disk")):
        with pytest.raises(UserError, match=f"{file}: is damaged. Delete"):
            read()


@pytest.mark.parametrize("kept", [True, False], ids=["time kept", "new time"])
def test_a_file_of_the_cache_that_has_changed_is_named(folder, kept):
    load(folder, "disk")
    (file,) = cache.root().glob("*/0.bin")
    content, known = bytearray(file.read_bytes()), file.stat().st_mtime_ns
    content[0] ^= 1
    file.write_bytes(content)
    if kept:
        os.utime(file, ns=(known, known))
    with pytest.raises(UserError, match=r"is damaged\. Delete"):
        load(folder, "disk")
    shutil.rmtree(file.parent)
    assert load(folder, "disk").train.inputs[:].any()


@pytest.mark.parametrize("mode", LAZY)
def test_what_is_kept_stays_until_the_new_is_whole(folder, mode):
    load(folder, mode)
    (place,) = cache.root().iterdir()
    path = next((folder / "disks").iterdir())
    content, times = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(content[:100])
    with pytest.raises(UserError, match=f"{path}: cannot be read"):
        load(folder, mode)
    path.write_bytes(content)
    os.utime(path, ns=(times, times))
    assert [*cache.root().iterdir()] == [place]
    assert load(folder, mode).remarks == ()


@pytest.mark.parametrize("mode", LAZY)
def test_no_byte_of_what_is_known_changes_unseen(folder, mode):
    load(folder, mode)
    for name in ("about.json", "digests.bin"):
        (file,) = cache.root().glob(f"*/{name}")
        held = file.read_bytes()
        for place in range(0, len(held), max(1, len(held) // 25)):
            wrong = bytes([held[place] ^ 1])
            file.write_bytes(held[:place] + wrong + held[place + 1 :])
            with pytest.raises(
                UserError, match=r"is damaged\. Delete"
            ) as caught:
                load(folder, mode)
            assert "\n" not in str(caught.value)
        file.write_bytes(held)
    assert load(folder, mode).remarks == ()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"notes": {}'])
def test_what_is_known_of_images_is_named_if_it_is_damaged(folder, content):
    load(folder, "none")
    (file,) = cache.root().glob("*/about.json")
    file.write_text(content)
    with pytest.raises(UserError, match=f"{file}: is damaged. Delete"):
        load(folder, "none")


def test_what_a_killed_process_was_writing_is_removed_after_a_day(folder):
    old, new = (cache.root() / f".kbp-{x * 12}" for x in "ab")
    for path in (old, new):
        path.mkdir(parents=True)
    os.utime(old, (1, 1))
    load(folder, "disk")
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize(
    ("held", "size", "mode"),
    [(250, 10, "memory"), (251, 10, "disk"), (251, 100, "none")],
)
def test_the_mode_is_chosen_by_size(tmp_path, monkeypatch, held, size, mode):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "there"))
    monkeypatch.setattr(cache, "memory", lambda: 1000)
    usage = shutil._ntuple_diskusage(1000, 900, 100)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    assert cache.choose("auto", held, size) == mode
    for asked in ("none", "memory", "disk"):
        assert cache.choose(asked, held, size) == asked


def test_a_disk_that_takes_nothing_is_one_line(folder, monkeypatch, tmp_path):
    place = tmp_path / "a file"
    place.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.raises(
        UserError, match=r"a file.*cannot be written.*XDG_CACHE_HOME"
    ):
        load(folder, "disk")
