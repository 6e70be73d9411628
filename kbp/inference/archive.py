"""The members of a `.keras` file, none of which is larger than the file."""

import io
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

from kbp._utils.machine import memory
from kbp.errors import UserError


def read_members(path: Path, known: Collection[str]) -> dict[str, bytes]:
    """Read the members of a `.keras` file.

    Keras compresses nothing, so no file may: what a compressed member unpacks
    to, it does not say truly. Archives inside it may not either.

    Args:
        path: of the file.
        known: names that its members may have.

    Returns:
        The content of each member, by its name.

    Raises:
        UserError: a member is unknown, twice there, compressed, or has another
            size than it says; or the file would fill half of the memory.
    """
    size, most = path.stat().st_size, memory() // 2
    if size > most:
        raise UserError(
            f"{path}: has {size:,} bytes; at most {most:,} are read."
        )
    with path.open("rb") as file:
        members = _read(path, file, size, known)
    for name, content in members.items():
        if name.endswith(".npz"):
            _read(path, io.BytesIO(content), len(content))
    return members


def _read(
    path: Path, file: IO[bytes], size: int, known: Collection[str] | None = None
) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        seen = set()
        for member in members:
            name = member.filename
            if name in seen:
                raise UserError(f"{path}: holds {name!r} twice.")
            seen.add(name)
            if known is not None and name not in known:
                raise UserError(f"{path}: holds {name!r}.")
            if member.compress_type != zipfile.ZIP_STORED:
                raise UserError(
                    f"{path}: compresses {name!r}; Keras compresses nothing."
                )
            if member.compress_size != member.file_size:
                raise UserError(
                    f"{path}: says that {name!r} has {member.file_size:,} and "
                    f"{member.compress_size:,} bytes."
                )
        if sum(member.file_size for member in members) > size:
            raise UserError(f"{path}: unpacks to more than it is.")
        contents = {}
        for member in members:
            with archive.open(member) as opened:
                # The last byte is followed by the check of the sum.
                contents[member.filename] = opened.read(member.file_size)
                if len(contents[member.filename]) < member.file_size:
                    raise UserError(f"{path}: ends in {member.filename!r}.")
        return contents
