"""Files of a person's own in a work directory."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest
from disks import ERRORS, Disk

from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.training.workdir import WorkDir


def test_a_lock_that_holds_something_is_left_as_it_is(tmp_path):
    lock = tmp_path / ".lock"
    lock.write_text("mine")
    with pytest.raises(UserError, match=r"\.lock: a link, or not empty"):
        WorkDir(tmp_path, Recipe.parse({}), resume=False)
    assert lock.read_text() == "mine"
    assert [*tmp_path.iterdir()] == [lock]


def test_a_lock_that_was_filled_meanwhile_is_left_as_it_is(tmp_path):
    folder = WorkDir(tmp_path, Recipe.parse({}), resume=False)
    (tmp_path / ".lock").write_text("mine")
    with pytest.raises(UserError, match=r"\.lock: a link, or not empty"):
        folder.__enter__()
    assert (tmp_path / ".lock").read_text() == "mine"


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_lock_that_is_a_link_is_not_followed(tmp_path, target):
    (tmp_path / "there").write_text("")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=r"\.lock: a link, or not empty"):
        WorkDir(run, Recipe.parse({}), resume=False)
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_lock_of_a_run_that_was_killed_is_taken(tmp_path):
    (tmp_path / ".lock").touch()
    with WorkDir(tmp_path, Recipe.parse({}), resume=False):
        assert (tmp_path / "run.json").exists()
    assert (tmp_path / ".lock").read_text() == ""


def unfinished(path):
    """Leave a run in a folder as one that was stopped."""
    with WorkDir(path, Recipe.parse({}), resume=False):
        pass
    return path


def resumed(path):
    return WorkDir(path, Recipe.parse({}), resume=True)


def test_a_run_beside_another_is_refused_at_once(tmp_path):
    run = unfinished(tmp_path / "run")
    before = (run / "run.json").read_bytes()
    with resumed(run):
        with pytest.raises(UserError, match="run: another process is running"):
            resumed(run)
        with pytest.raises(UserError, match="holds a run that is unfinished"):
            WorkDir(run, Recipe.parse({}), resume=False)
    with resumed(run) as again:
        assert again.run["resumed"]
    assert before != (run / "run.json").read_bytes()


def test_two_that_begin_together_do_not_mix(tmp_path):
    first = WorkDir(tmp_path, Recipe.parse({}), resume=False)
    second = WorkDir(tmp_path, Recipe.parse({}), resume=False)
    with first:
        with pytest.raises(UserError, match="another process is running there"):
            second.__enter__()
        first.finished = True
        first.run["mine"] = 1
    # It is over now, and what it wrote stays.
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match="has been running there meanwhile"):
        second.__enter__()
    assert (tmp_path / "run.json").read_bytes() == before


def test_what_was_finished_meanwhile_is_not_gone_on_with(tmp_path):
    unfinished(tmp_path)
    late = resumed(tmp_path)
    with resumed(tmp_path) as first:
        first.finished = True
    with pytest.raises(UserError, match="has been running there meanwhile"):
        late.__enter__()
    assert resumed(tmp_path).finished


def test_what_went_on_meanwhile_is_known(tmp_path):
    unfinished(tmp_path)
    late = resumed(tmp_path)
    with resumed(tmp_path) as first:
        first.run["slower"]["train"] = 0.1
        first.save_run()
    with late:
        assert late.run["slower"] == {"train": 0.1}


HOLDS = """
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def test_a_lock_ends_with_its_process(tmp_path):
    run = unfinished(tmp_path / "run")
    words = [sys.executable, "-c", HOLDS, run / ".lock"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(UserError, match="another process is running there"):
            resumed(run)
        holder.kill()
    with resumed(run):
        pass


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks_is_written_to(error, tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", none)
    unfinished(tmp_path / "run")
    with resumed(tmp_path / "run"):
        pass


@pytest.mark.parametrize("error", ERRORS, ids=os.strerror)
@pytest.mark.parametrize("moment", [0, 2, 4, 8])
def test_a_claim_that_fails_holds_no_lock(moment, error, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        Disk(tmp_path, moment, error, patch)
        with pytest.raises(UserError, match=r"run.*: cannot be written: "):
            unfinished(run)
    with WorkDir(run, Recipe.parse({}), resume=(run / "run.json").exists()):
        names = {".lock", "run.json", "recipe.toml"}
        assert {path.name for path in run.iterdir()} == names


@pytest.mark.parametrize(
    "name", ["model.keras", "checkpoints", "checkpoints/a.keras", "logs/train"]
)
@pytest.mark.parametrize("target", ["mine", "nowhere", "loop"])
def test_links_in_a_run_are_refused_and_not_followed(name, target, tmp_path):
    run = unfinished(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".kbp-0123456789ab").touch()
    link = run / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(link if target == "loop" else tmp_path / target)
    with pytest.raises(UserError, match=f"{name}: a link, so what is written"):
        resumed(run)
    assert link.is_symlink()
    assert (tmp_path / "mine" / ".kbp-0123456789ab").exists()


def test_a_link_that_came_meanwhile_is_not_followed(tmp_path):
    run = unfinished(tmp_path / "run")
    late = resumed(run)
    (tmp_path / "mine").mkdir()
    (run / "checkpoints").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="checkpoints: a link, so what is wri"):
        late.__enter__()


def test_the_whole_folder_may_be_a_link(tmp_path):
    (tmp_path / "large_disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large_disk")
    unfinished(tmp_path / "run")
    with resumed(tmp_path / "run"):
        pass
    assert (tmp_path / "large_disk" / "run.json").is_file()


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    run = unfinished(tmp_path / "run")
    (run / "checkpoints").mkdir()
    for name in (".kbp-0123456789ab", "checkpoints/.kbp-0123456789ab"):
        (run / name).touch()
    (run / ".kbp-ba9876543210").mkdir()
    (run / ".kbp-ba9876543210" / "saved_model.pb").touch()
    (run / ".mine").touch()
    with resumed(run):
        names = {path.name for path in run.rglob("*")}
    assert names == {
        *(".lock", ".mine", "run.json", "recipe.toml", "checkpoints")
    }


def test_a_run_goes_on_wherever_its_examples_are_kept(tmp_path):
    """Where they are changes no number, and older runs had no such key."""

    def recipe(**data):
        section = {"name": "image_folder", "folder": "photos", **data}
        return Recipe.parse({"data": section})

    with WorkDir(tmp_path, recipe(cache="disk"), resume=False):
        pass
    assert WorkDir(tmp_path, recipe(cache="none"), resume=True).found
    file = tmp_path / "run.json"
    run = json.loads(file.read_text())
    del run["recipe"]["data"]["cache"]
    file.write_text(json.dumps(run))
    assert WorkDir(tmp_path, recipe(), resume=True).found
    with pytest.raises(UserError, match=r"image_size, \d+ there, 32 here\."):
        WorkDir(tmp_path, recipe(image_size=32), resume=True)
