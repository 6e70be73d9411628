"""Files are replaced whole or not at all."""

import ast
import os
import re

import fresh
import pytest
from disks import ERRORS, Disk, Killed

from kbp._utils.command_line import check_new
from kbp._utils.files import (
    append_line,
    cut_unfinished_line,
    new_folder,
    remove,
    remove_unfinished,
    temporary_folder,
    write_atomically,
    write_together,
)
from kbp.errors import UserError

MOMENTS = range(6)


def test_text_and_bytes_are_written_to_missing_folders(tmp_path):
    path = write_atomically(tmp_path / "a" / "b" / "file", "text é")
    assert path.read_text(encoding="utf-8") == "text é"
    assert write_atomically(path, b"\0bytes").read_bytes() == b"\0bytes"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_who_may_read_files_is_the_masks_business(mask, tmp_path):
    before = os.umask(mask)
    try:
        path = write_atomically(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def refused(write, name):
    """Return the one line that a write was refused with."""
    with pytest.raises(UserError, match="cannot be written: ") as error:
        write()
    words = str(error.value)
    assert "\n" not in words
    assert name in words
    return words


@pytest.mark.parametrize("error", ERRORS, ids=os.strerror)
@pytest.mark.parametrize("moment", MOMENTS)
def test_failed_write_leaves_the_old_files_alone(
    moment, error, tmp_path, monkeypatch
):
    paths = write_together({tmp_path / "a": "old", tmp_path / "b": b"old"})
    with monkeypatch.context() as patch:
        disk = Disk(tmp_path, moment, error, patch)
        words = refused(
            lambda: write_together({paths[0]: "new", paths[1]: "new"}),
            str(tmp_path),
        )
        assert disk.failed
    assert os.strerror(error) in words
    assert {path.read_text() for path in paths} == {"old"}
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("moment", range(9))
def test_a_killed_write_leaves_files_whole(moment, tmp_path, monkeypatch):
    paths = write_together({tmp_path / "a": "old", tmp_path / "b": "old"})
    with monkeypatch.context() as patch:
        disk = Disk(tmp_path, moment, Killed, patch)
        with pytest.raises(Killed):
            write_together({paths[0]: "new", paths[1]: "new"})
        assert disk.dead
    assert {path.read_text() for path in paths} <= {"old", "new"}
    (tmp_path / ".kbp-mine").touch()
    remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".kbp-mine", *paths]


@pytest.mark.parametrize("error", [*ERRORS, Killed])
@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_a_folder_is_there_whole_or_not_at_all(
    moment, error, tmp_path, monkeypatch
):
    def write():
        with new_folder(tmp_path / "deep" / "made") as folder:
            write_atomically(folder / "file", "text")

    with monkeypatch.context() as patch:
        Disk(tmp_path, moment, error, patch)
        with pytest.raises((UserError, Killed), match=r"written|^$"):
            write()
    remove_unfinished(tmp_path / "deep")
    assert not [p for p in tmp_path.rglob("*") if p.name != "deep"]
    write()
    assert (tmp_path / "deep" / "made" / "file").read_text() == "text"
    assert (tmp_path / "deep" / "made").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", ERRORS, ids=os.strerror)
@pytest.mark.parametrize("moment", [0, 1])
def test_a_line_is_appended_whole_or_not_at_all(
    moment, error, tmp_path, monkeypatch
):
    file = tmp_path / "lines"
    append_line(file, "first")
    with monkeypatch.context() as patch:
        Disk(tmp_path, moment, error, patch)
        refused(lambda: append_line(file, "second"), str(file))
    assert file.read_text() == "first\n"


@pytest.mark.parametrize("left", ["", "a\n", "a\nb", "b"])
def test_an_unfinished_line_is_cut_off(left, tmp_path):
    file = tmp_path / "lines"
    file.write_text(left)
    cut_unfinished_line(file)
    assert file.read_text() == left.removesuffix("b")


def test_a_full_disk_of_temporary_files_is_named(tmp_path, monkeypatch):
    def full():
        raise OSError("Can't write: error message = 'No space left on device'")

    with (
        pytest.raises(UserError, match=r"\$TMPDIR.*: No space left on device"),
        temporary_folder(),
    ):
        full()
    with pytest.raises(FileNotFoundError), temporary_folder() as folder:
        (folder / "none").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "folder: is a folder. Name a file.$"),
        ("file/below", "below: cannot be written: .*file is no folder. Choose"),
        ("file/far/below", "cannot be written: .*file is no folder. Choose"),
        ("/proc/kbp/file", "^/proc/kbp/file: cannot be written: .*. Choose"),
        ("/dev/null", "^/dev/null: is a device or a pipe. Name a file.$"),
        ("pipe", "pipe: is a device or a pipe. Name a file.$"),
        ("loop", "loop: cannot be written: Too many levels of symbolic links"),
        ("loop/x", "x: cannot be written: Too many levels of symbolic links"),
        ("n\0l", "no name of a file: embedded null byte"),
        ("x" * 256, "File name too long. Choose a shorter name.$"),
        ("x/" * 3000, "^.{300,400}File name too long. Choose a shorter"),
    ],
)
def test_places_where_no_file_can_be_are_named(name, message, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message) as error:
        write_atomically(tmp_path / name, "text")
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_the_longest_name_of_a_file_is_written(tmp_path):
    path = tmp_path / ("é" * 127)
    assert write_atomically(path, "text").read_text() == "text"


def test_an_empty_path_is_named():
    with pytest.raises(UserError, match="an empty path: is a folder"):
        write_atomically("", "text")


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / "link"
    for write in (lambda: write_atomically(link, "text"), lambda: remove(link)):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "mine")
        write()
        assert (tmp_path / "mine").read_text() == "mine"
        assert not link.is_symlink()


def test_unfinished_folders_that_are_links_are_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / ".kbp-0123456789ab").symlink_to(tmp_path / "mine")
    remove_unfinished(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "file"]


def test_text_of_names_that_are_no_text_is_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    path = write_atomically(tmp_path / "a", name)
    assert path.read_text(encoding="utf-8") == r"caf\udce9.png"


def test_results_go_nowhere_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file/out.csv", "file/far/out.csv"):
        with pytest.raises(UserError, match=r"--out: .*file is no folder"):
            check_new(tmp_path / name)


def test_a_link_to_nowhere_is_not_written_over(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"link: exists\. Choose another"):
        check_new(tmp_path / "link")


# Names of functions and methods that change what is on a disk.
WRITING = re.compile(
    r"write_(text|bytes)|touch|r?unlink|rmtree|renames?|mk(dirs?|dtemp|stemp)"
    r"|makedirs|copy(file|tree|2)|move|(symlink|hardlink)_to|rmdir|f?truncate"
    r"|(Named)?Temporary(File|Directory)|to_(csv|parquet)|fdopen"
)
WRITABLE = re.compile("[rwaxbt]*[wax+][bt+]*")
# Into files of the house's own, beside a log or without a name.
EXEMPT = {
    ("_utils/process/stderr.py", "TemporaryFile"),
    ("tasks/tables/predict_table.py", "to_csv"),  # without a path: text
    ("benchmarks/heavy_tails/cases.py", "to_csv"),  # as above
    ("benchmarks/input_memory/series.py", "to_csv"),  # as above
    ("tasks/tables/predict_table.py", "rename"),  # columns
    ("data/records/places.py", "open"),  # a file of `new_file`
    ("benchmarks/distribution/workers.py", "open"),  # logs in a folder of ours
    ("optimizers/update.py", "move"),  # weights
    ("optimizers/synchronized.py", "move"),  # as above
}


def writes(tree):
    """Yield the names of calls that may write to a disk."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = getattr(called, "attr", getattr(called, "id", ""))
        if WRITING.fullmatch(name):
            yield name
        if name == "open":
            said = [*node.args, *(k.value for k in node.keywords)]
            modes = [x.value for x in said if isinstance(x, ast.Constant)]
            if any(WRITABLE.fullmatch(str(mode)) for mode in modes):
                yield name
        if ast.unparse(called) in ("os.replace", "os.remove", "shutil.copy"):
            yield name


def test_nothing_but_the_house_of_files_writes_to_a_disk():
    found = {
        (path.relative_to(fresh.PACKAGE).as_posix(), name)
        for path in fresh.PACKAGE.rglob("*.py")
        for name in writes(ast.parse(path.read_text()))
    }
    files = {(path, name) for path, name in found if path == "_utils/files.py"}
    assert len(files) > 5, "the search finds nothing"
    assert found - files == EXEMPT
