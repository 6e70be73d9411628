"""Files are replaced whole or not at all."""

import os

import pytest

from kbp._utils.files import write_atomically


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
