"""Encodings of text files: what another one looks like, and keeping one."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from kbp.errors import UserError

# In these any bytes but a few are text. What is UTF-8 as well, beyond ASCII,
# was written as that: an accented capital before each sign makes no words.
MOST_OF_A_LINE = 10_000_000  # characters
_WESTERN = ("cp1252", "iso8859-1", "iso8859-15")
_READ = 1_000_000  # bytes of a file
_SHOWN = 30  # letters


def plain_lines(
    path: Path, lines: Iterable[str], encoding: str
) -> Iterator[str]:
    """Pass on a file's lines without a byte order mark.

    Args:
        path: of the file, for errors.
        lines: of it.
        encoding: that they were read in.

    Raises:
        UserError: a line is as long as `MOST_OF_A_LINE`, where reading stops;
            bytes of zero are of another encoding, and so is text that
            is UTF-8 where it was read in an encoding of western letters; the
            latter is known at the end alone.
    """
    name = codecs.lookup(encoding).name
    doubtful, found = name in _WESTERN, ""
    for number, line in enumerate(lines, start=1):
        if doubtful and not line.isascii():
            text = _as_utf_8(line, name)
            doubtful = bool(text)
            found = found or f"line {number}: has {_part(line, text)}"
        if number == 1:
            line = line.removeprefix("\ufeff")
        if len(line) == MOST_OF_A_LINE:
            raise UserError(
                f"{path}, line {number}: has {MOST_OF_A_LINE:,} characters or "
                "more; is it a CSV file?"
            )
        if "\0" in line:
            raise UserError(
                f"{path}, line {number}: holds a byte of zero (NUL), as no "
                'text does; is it another kind of file, or encoding = "utf-16"?'
            )
        yield line
    if doubtful and found:
        raise UserError(
            f"{path}, {found}: the file looks like UTF-8, not {encoding}. Say "
            'encoding = "utf-8", or leave it out.'
        )


def _as_utf_8(line: str, encoding: str) -> str:
    """Return a line that was read in another encoding; `""` if it is none."""
    try:
        return line.encode(encoding).decode("utf-8")
    except UnicodeError:
        return ""


def _part(line: str, text: str) -> str:
    """Show where a line and what it is in UTF-8 differ first."""
    first = next((i for i, x in enumerate(line) if not x.isascii()), 0)
    place = max(0, first - _SHOWN // 2)  # ASCII before is the same in both
    read, meant = (x[place : place + _SHOWN].strip() for x in (line, text))
    return f"{read!r} for {meant!r}"


def wrong_encoding(path: Path, encoding: str, error: UnicodeError) -> UserError:
    """Return what to say of a file that is not in an encoding.

    Args:
        path: of the file.
        encoding: that it is to have.
        error: which was met.
    """
    advice = 'say encoding = "cp1252" or "utf-16", whichever it is in'
    # A pipe cannot be read again.
    if codecs.lookup(encoding).name != "utf-8" and path.is_file():
        with path.open("rb") as file:
            content = file.read(_READ)
        try:
            codecs.getincrementaldecoder("utf-8")().decode(content)
            advice = 'it looks like UTF-8: say encoding = "utf-8"'
        except UnicodeError:
            advice = f"{advice}, or none for UTF-8"
    return UserError(
        f"{path}: is not in the encoding {encoding}: {error}; {advice}."
    )


def encoded_as(path: Path, encoding: str, text: str) -> bytes:
    """Return text in the encoding of a file that it was made from.

    Args:
        path: of the file; what is made of a Parquet file is UTF-8.
        encoding: that the file was read in.
        text: to write. With letters that the encoding lacks, all of it is UTF-8
            behind a byte order mark, which spreadsheets look for.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return text.encode()
    marked = False
    if path.is_file():  # a pipe cannot be read again
        with path.open("rb") as file:
            marked = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode("utf-8-sig")
    if marked and not content.startswith(codecs.BOM_UTF8):
        return codecs.BOM_UTF8 + content
    return content
