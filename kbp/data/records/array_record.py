"""The package array_record, which reads and writes the shards."""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kbp._utils.process.disk_errors import cannot_write
from kbp.errors import UserError

# Each record by itself, so that one is read without its neighbors. Photographs
# and noise do not get smaller, and reading is the faster without a codec.
_WRITTEN_AS = "group_size:1,uncompressed"
_READ_AS = "readahead_buffer_size:0"


def _package() -> Any:
    try:
        return importlib.import_module(
            "array_record.python.array_record_module"
        )
    except ImportError as error:
        raise UserError(
            "records need the package array_record: pip install 'kbp[records]'"
        ) from error


def write(path: Path, records: Iterable[bytes]) -> None:
    """Write a new file of records.

    Raises:
        UserError: the disk does not take it, or array_record is missing.
    """
    writer = _package().ArrayRecordWriter(str(path), _WRITTEN_AS)
    try:
        for record in records:
            writer.write(record)
        writer.close()
    except (RuntimeError, ValueError) as error:  # what it makes of the disk's
        raise cannot_write(path.parent, error) from error


class Reader:
    """The records of one file, by number; several threads may read at a time.

    Args:
        path: of the file.

    Raises:
        UserError: it is no such file, or array_record is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._reader = _package().ArrayRecordReader(str(path), _READ_AS)
        if not self._reader.ok():
            raise UserError(f"{path}: no file of ArrayRecord, or damaged.")

    def __len__(self) -> int:
        return int(self._reader.num_records())

    def read(self, numbers: Sequence[int]) -> list[bytes]:
        """Return the records of some numbers.

        Raises:
            UserError: one is damaged; it is named.
        """
        try:
            return list(self._reader.read([*numbers]))
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._damage(numbers, error) from error

    def damaged(self) -> list[int]:
        """Read everything, and return the numbers of what is damaged."""
        return [n for n in range(len(self)) if not self._is_whole(n)]

    def _is_whole(self, number: int) -> bool:
        try:
            self._reader.read([number])
        except (RuntimeError, ValueError, IndexError):
            # After an error it reads nothing any more.
            self._reader = _package().ArrayRecordReader(
                str(self.path), _READ_AS
            )
            return False
        return True

    def _damage(self, numbers: Sequence[int], error: Exception) -> UserError:
        fresh = Reader(self.path)
        for number in numbers:
            if not fresh._is_whole(number):
                return UserError(
                    f"{self.path}: record {number} is damaged. Bring the file "
                    "back, or pack it again."
                )
        reason = " ".join(str(error).split())
        return UserError(f"{self.path}: cannot be read: {reason}")
