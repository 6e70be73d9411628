"""Files in other encodings than a recipe says, and what is made of them."""

import codecs
import os

import pytest

from kbp.data.formats.encodings import encoded_as, wrong_encoding
from kbp.data.formats.frames import read_frame
from kbp.errors import UserError

TEXT = "Größe;Straße\n1;München\n2;Köln\n"


def file_of(folder, content, name="a.csv"):
    path = folder / name
    path.write_bytes(content)
    return path


def test_error_names_the_key_that_reads_the_file(tmp_path):
    file = file_of(tmp_path, TEXT.encode("cp1252"))
    with pytest.raises(UserError, match='say encoding = "cp1252" or "utf-16"'):
        read_frame(file)
    assert list(read_frame(file, encoding="cp1252")) == ["Größe", "Straße"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso-8859-15"])
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "a;b\n1;2\n3;Grün\n",
        "a;b\n1;ÜÄÖ\n",
        "a;b\n1;Ã",  # no newline at the end
        "a;b\n1;10 € und 20 °C\n",
    ],
)
def test_utf_8_is_not_read_as_western_letters(text, encoding, tmp_path):
    """All of it would be read, and mean something else."""
    file = file_of(tmp_path, text.encode())
    with pytest.raises(
        UserError, match=r'looks like UTF-8.*encoding = "utf-8"'
    ):
        read_frame(file, encoding=encoding)
    assert len(read_frame(file, encoding="utf-8")) > 0


def test_error_shows_how_a_line_would_be_read(tmp_path):
    file = file_of(tmp_path, ("a;b\n1;2\n" + TEXT).encode())
    with pytest.raises(UserError, match=r"line 3: has 'GrÃ¶ÃŸe;.* for 'Größe;"):
        read_frame(file, encoding="cp1252")


def test_bytes_that_the_encoding_lacks_may_be_utf_8(tmp_path):
    file = file_of(tmp_path, "a;b\n1;Île\n2;Í\n".encode())  # holds 0x8d
    with pytest.raises(UserError, match="it looks like UTF-8: say encoding"):
        read_frame(file, encoding="cp1252")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TEXT, "cp1252"),
        ("a;b\n1;é\n2;Ä°\n", "cp1252"),  # one line alone would be UTF-8
        ("a;b\n1;2\n", "cp1252"),
        ("a;b\n1;\u0422°C\n", "cp1251"),
        ("a;b\n1;ток\n", "iso8859-5"),
        (TEXT, "utf-16"),
    ],
)
def test_files_in_their_encodings_are_read(text, encoding, tmp_path):
    file = file_of(tmp_path, text.encode(encoding))
    frame = read_frame(file, encoding=encoding)
    lines = text.splitlines()
    assert list(frame) == lines[0].split(";")
    assert frame.iloc[-1].tolist() == lines[-1].split(";")


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        (TEXT.encode(), "utf-8", "é".encode()),
        (TEXT.encode("cp1252"), "cp1252", b"\xe9"),
        (
            codecs.BOM_UTF8 + TEXT.encode(),
            "utf-8",
            codecs.BOM_UTF8 + "é".encode(),
        ),
        (TEXT.encode("utf-8-sig"), "utf-8-sig", codecs.BOM_UTF8 + "é".encode()),
        (TEXT.encode("utf-16"), "utf-16", "é".encode("utf-16")),
    ],
)
def test_what_is_made_of_a_file_has_its_encoding(
    content, encoding, expected, tmp_path
):
    assert encoded_as(file_of(tmp_path, content), encoding, "é") == expected


def test_letters_that_an_encoding_lacks_are_utf_8_with_a_mark(tmp_path):
    file = file_of(tmp_path, TEXT.encode("cp1252"))
    assert encoded_as(file, "cp1252", "Ω") == codecs.BOM_UTF8 + "Ω".encode()
    parquet = file_of(tmp_path, b"PAR1", "a.parquet")
    assert encoded_as(parquet, "cp1252", "é") == "é".encode()


def test_a_pipe_is_not_opened_again(tmp_path):
    """It would wait for another writer without an end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert encoded_as(pipe, "cp1252", "é") == b"\xe9"
    error = UnicodeError("bad byte")
    assert "cp1252" in str(wrong_encoding(pipe, "ascii", error))
