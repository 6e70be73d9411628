"""The records of a CSV file as people write it, one after the other."""

import csv
import itertools
import re
from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from stat import S_ISREG

from kbp.data.formats import encodings
from kbp.errors import UserError, looked_for

SEPARATORS = (",", ";", "\t", "|")
MOST_COLUMNS = 10_000
_SAYS_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's


class CsvRecords:
    """The fields of a file's records, each with the number of its last line.

    pandas reads fields too, but tells neither their lines nor a field that is
    not there from one that is empty.

    Args:
        path: of the file.
        separator: of its fields; `""` for the one of `SEPARATORS` that the
            first record holds most, outside quotes.
        encoding: of the file.
        starts: a list that gets the place in the file of each record.

    Attributes:
        separator: which is found once the first record is read.
    """

    def __init__(
        self,
        path: Path,
        separator: str,
        encoding: str,
        starts: "array[int] | None" = None,
    ):
        self.path, self.encoding = path, encoding
        self.separator, self.starts = separator, starts

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        after = 0
        try:
            for after, row in self._read():
                if len(row) > MOST_COLUMNS:
                    raise crowded(self.path, len(row))
                yield after, row
        except LookupError as error:
            raise UserError(f"encoding: unknown {self.encoding!r}") from error
        except UnicodeError as error:
            raise encodings.wrong_encoding(
                self.path, self.encoding, error
            ) from error
        except csv.Error as error:
            raise UserError(
                f"{self.path}, line {after + 1}: cannot be read: {error}; a "
                "quote there is not closed, or not followed by the end of its "
                "field."
            ) from error

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding=self.encoding, newline="") as file:
            # Else a file of zeros without an end would be one line.
            some = iter(partial(file.readline, encodings.MOST_OF_A_LINE), "")
            text = encodings.plain_lines(self.path, some, self.encoding)
            first, before = next(text, ""), 0
            if said := _SAYS_SEPARATOR.fullmatch(first):
                self.separator = self.separator or said[1]
                first, before = next(text, ""), 1
            unquoted = re.sub(r'"[^"]*("|$)', "", first)
            if not self.separator:
                self.separator = max(SEPARATORS, key=unquoted.count)
            reader = csv.reader(
                itertools.chain([first], text),
                delimiter=self.separator,
                strict=True,  # else an open quote takes in all that follows
            )
            start = 0
            for row in reader:
                if self.starts is not None:
                    self.starts.append(start)
                    start = file.tell()
                yield reader.line_num + before, row


def check_file(path: Path) -> int:
    """Return the size of a file, and raise a UserError if it is none."""
    try:
        found = path.stat()
        if S_ISREG(found.st_mode):
            path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}: cannot be read: {reason}{looked_for(path)}"
        ) from error
    if not S_ISREG(found.st_mode):
        raise UserError(f"{path}: cannot be read: it is no file.")
    return found.st_size


def crowded(path: Path, count: int) -> UserError:
    """Return the error that a file has too many columns."""
    return UserError(
        f"{path}: has {count} columns; at most {MOST_COLUMNS} are read. The "
        "rows must be the examples or times; drop the columns that are not "
        "needed."
    )
