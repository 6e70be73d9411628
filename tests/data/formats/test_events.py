"""Recordings of events in a folder for each class."""

import shutil
import tracemalloc

import numpy as np
import pytest
import recordings

from kbp._utils import machine
from kbp.data.formats import events
from kbp.data.recordings import Binning
from kbp.data.splitting import SPLITS
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task


@pytest.fixture
def folder(tmp_path):
    recordings.write(tmp_path / "all", 10)
    return tmp_path / "all"


def task(place, **keys):
    data = recordings.section(place) | keys
    training = {"batch_size": 4}
    recipe = Recipe.parse({"data": data, "training": training})
    return make_task(recipe)


def test_each_class_is_split_alike(folder):
    made = task(folder)
    splits = made.splits
    assert splits.class_names == recordings.CLASSES
    assert made.shape == splits.input_shape == (8, 2 * recordings.CHANNELS)
    for split, count in (("train", 7), ("validation", 1), ("test", 2)):
        part = getattr(splits, split)
        assert part.labels.tolist() == [0] * count + [1] * count
        assert part.inputs.sum(axis=(1, 2)).tolist() == [60] * 2 * count
        binning = Binning(8, channels=recordings.CHANNELS)
        for values, name in zip(part.inputs, part.names, strict=True):
            read = binning.read(folder / name).values
            np.testing.assert_array_equal(values, read)


def test_folders_of_splits_and_groups_count(folder):
    with pytest.raises(UserError, match="finds no group in the name"):
        task(folder, group_pattern="([xyz])")
    held = task(folder, group_pattern=r"(r\d\d)").splits
    for split in SPLITS:  # a group has a recording of each class
        names = [name.split("/")[1] for name in getattr(held, split).names]
        assert {names.count(name) for name in names} == {2}
    for split in ("test", "train"):
        shutil.copytree(folder, folder.parent / "split" / split)
    splits = task(folder.parent / "split").splits
    assert [len(getattr(splits, x)) for x in SPLITS] == [20, 0, 20]
    with pytest.raises(UserError, match="is split into folders"):
        task(folder.parent / "split", test_fraction=0.3)


def test_what_is_odd_is_said(folder):
    path = folder / "rising" / "r00.csv"
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, *rest, first]))
    (folder / "rising" / "notes.md").write_text("")
    passed, back, late = task(folder, duration=5000.0).warnings()
    assert passed.endswith("passed over what is no recording: rising/notes.md.")
    assert "Times go back in rising/r00.csv;" in back
    assert "events come after data.duration and are left out, in " in late


def test_all_wrong_files_are_named_at_once(folder):
    (folder / "falling" / "r00.csv").write_text(
        "time,channel,polarity\n1,6,0\n"
    )
    (folder / "rising" / "r02.csv").write_text("")
    (folder / "rising" / "more.aedat4").write_text("")
    with pytest.raises(UserError, match=r"more\.aedat4\. Known suffixes") as e:
        task(folder)
    assert "falling/r00.csv, line 2: channel is '6'" in str(e.value)
    assert "2 files are wrong, also" in str(e.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"channels": 0}, "channels a recording has, or data.height and"),
        ({"height": 4, "width": 4}, "received 6, 4 and 4"),
        ({"channels": 0, "height": 4}, "received 0, 4 and 0"),
        ({"block": 2}, "data.block has no effect"),
        ({"folder": ""}, "data.folder must name"),
        ({"folder": "nowhere"}, "nowhere: no such folder"),
        ({"timesteps": 0}, "data.timesteps must be"),
        ({"polarity": "on"}, "data.polarity: unknown 'on'"),
    ],
)
def test_keys_that_do_not_fit_are_named(folder, keys, words):
    with pytest.raises(UserError, match=words):
        task(folder, **keys)


def test_what_fills_the_memory_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(events, "memory", lambda: 20 * 8 * 12 * 4)
    with pytest.raises(UserError, match="20 recordings of 8 time steps and 12"):
        task(folder)
    assert machine.memory() > 0


def test_recordings_are_held_once(folder):
    binning = Binning(20_000, channels=recordings.CHANNELS)
    tracemalloc.start()
    try:
        splits = events.load(folder, binning)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    parts = splits.train, splits.validation, splits.test
    size = sum(part.inputs.nbytes for part in parts)
    assert size == 20 * 20_000 * 12 * 4
    assert peak < 1.6 * size
    for part in parts:
        for name, values in zip(part.names, part.inputs, strict=True):
            expected = binning.read(folder / name).values
            np.testing.assert_array_equal(values, expected)


def test_images_and_sequences_need_their_own_tasks(folder):
    sections = {
        "data": recordings.section(folder),
        "task": {"name": "classification"},
        "training": {"batch_size": 4},
    }
    recipe = Recipe.parse(sections)
    with pytest.raises(UserError, match="which gives no images"):
        make_task(recipe)
    recipe = Recipe.parse({"task": {"name": "sequence_classification"}})
    with pytest.raises(UserError, match="which gives no sequences"):
        make_task(recipe)
