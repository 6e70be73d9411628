"""CSV files as nobody should write them: one line, little memory."""

import os
import time
from pathlib import Path

import bombs
import pytest

from kbp.data.formats import csv_table
from kbp.data.formats.frames import read_frame
from kbp.data.images.search import find_files
from kbp.errors import UserError

HEAD = b"size,color,kind\n"
ROWS = b"".join(
    b"%d,%s,%d\n" % (7 * i % 13, (b"red", b"blue")[i % 2], i % 3)
    for i in range(60)
)
GIGABYTE = 1_000_000_000


def load(path, **keys):
    config = csv_table.CsvTableConfig(file=str(path), target="kind", **keys)
    return csv_table.load(config, None)


def refusal(path, read=load):
    """Return the line that refuses a file, without much memory or time."""
    bombs.forget()
    before, start = bombs.peak(), time.monotonic()
    with pytest.raises(UserError, match=str(path.parent)) as error:
        read(path)
    assert time.monotonic() - start < 10
    assert bombs.peak() - before < 3e8
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    return str(error.value)


@pytest.mark.parametrize("start", [b"", HEAD, HEAD + ROWS + b"1,"])
@pytest.mark.parametrize("byte", [b"a", b"\0", b"\xff"])
def test_a_line_of_a_gigabyte_is_refused(start, byte, tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(start + 12_000_000 * byte)
    os.truncate(file, GIGABYTE)
    assert str(file) in refusal(file)


def test_a_million_columns_are_refused(tmp_path):
    file = tmp_path / "a.csv"
    names = ",".join(f"c{i}" for i in range(1_000_000))
    file.write_text(f"{names}\n{','.join('1' * 1_000_000)}\n")
    assert "has 1000000 columns; at most 10000 are read" in refusal(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAD + ROWS.replace(b"red", b"r\0d", 1), "line 2: holds a byte of"),
        (HEAD + ROWS + b'"3,red,1\n' + ROWS, "line 62: cannot be read: unexp"),
        (b'"' + HEAD + ROWS, "line 1: cannot be read: unexpected end"),
        (HEAD + ROWS + b'1,"' + b"x\n" * 10**6, "line 62: .*field limit"),
        (HEAD + ROWS.replace(b"red", b"=1+1", 1), "line 2: '=1.1' in column"),
        (HEAD + ROWS.replace(b"0,", b"=1+1,", 1), "line 2: '=1.1' in column"),
        (HEAD + ROWS + b"\xef\xbb\xbf" + ROWS, "line 62: .*ufeff0"),
        (
            HEAD + ROWS.replace(b"red", b"\xed\xa0\x80"),
            "encoding utf-8.*cp1252",
        ),
        ((HEAD + ROWS).decode().encode("utf-32"), "is not in the encoding"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(content, words, tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: b"\xef\xbb\xbf" + x,
        lambda x: x.replace(b"\n", b"\r\n"),
        lambda x: x.replace(b"\n", b"\r"),
        lambda x: x.replace(b"\n", b"\r\n", 20).replace(b"0\n", b"0\r"),
    ],
    ids=["mark", "windows", "mac", "mixed"],
)
def test_marks_and_ends_of_lines_change_no_value(change, tmp_path):
    file, other = tmp_path / "a.csv", tmp_path / "b.csv"
    file.write_bytes(HEAD + ROWS)
    other.write_bytes(change(HEAD + ROWS))
    frame, same = read_frame(file), read_frame(other)
    assert frame.to_dict("list") == same.to_dict("list")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/dev/zero", "^/dev/zero: cannot be read: it is no file.$"),
        ("pipe", "pipe: cannot be read: it is no file.$"),
        (".", "^.: cannot be read: it is no file.$"),
        ("loop", "loop: cannot be read: Too many levels of symbolic links"),
        ("~/a.csv", "No such file.*~ and . are no more than letters in"),
        ("$HOME/a.csv", "No such file.*~ and . are no more than letters in"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("x" * 300, "cannot be read: File name too long"),
        ("http://x/a.csv", "cannot be read: No such file or directory"),
    ],
)
def test_paths_of_no_file_are_named(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    with pytest.raises(UserError, match=words) as error:
        read_frame(name)
    assert "\n" not in str(error.value)


def test_a_folder_that_counts_on_a_shell_is_named():
    with pytest.raises(UserError, match=r"no such folder .*write the path in"):
        find_files(Path("~/photos"))


def test_a_file_that_fills_the_memory_is_refused(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(HEAD)
    os.truncate(file, 1 << 42)
    said = refusal(file, lambda path: load(path, cache="memory"))
    assert "are what the memory takes" in said
    # Else its rows are not held, and the first of them is seen to be none.
    assert "is it a CSV file?" in refusal(file)
