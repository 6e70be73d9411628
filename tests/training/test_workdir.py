"""Files of a person's own in a work directory."""

import pytest

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
