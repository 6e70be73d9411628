"""Files are replaced whole or not at all."""

import os

import pytest

from kbp._utils.command_line import check_new
from kbp._utils.files import write_atomically
from kbp.errors import UserError


def test_text_and_bytes_are_written_to_missing_folders(tmp_path):
    path = write_atomically(tmp_path / "a" / "b" / "file", "text é")
    assert path.read_text(encoding="utf-8") == "text é"
    assert write_atomically(path, b"\0bytes").read_bytes() == b"\0bytes"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "fdopen"])
def test_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failing):
    path = write_atomically(tmp_path / "file", "old")

    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "folder: is a folder. Name a file.$"),
        ("file/below", "below: cannot be written: .*file is no folder. Choose"),
        ("file/far/below", "cannot be written: .*file is no folder. Choose"),
        ("/proc/kbp/file", "^/proc/kbp/file: cannot be written: .*. Choose"),
    ],
)
def test_places_where_no_file_can_be_are_named(name, message, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message):
        write_atomically(tmp_path / name, "text")
    assert {p.name for p in tmp_path.iterdir()} == {"folder", "file"}


def test_an_empty_path_is_named():
    with pytest.raises(UserError, match="an empty path: is a folder"):
        write_atomically("", "text")


def test_results_go_nowhere_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file/out.csv", "file/far/out.csv"):
        with pytest.raises(UserError, match=r"--out: .*file is no folder"):
            check_new(tmp_path / name)
