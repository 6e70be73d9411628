"""The zip archive of texts that a .tflite file may end with."""

import io
import zipfile
import zlib
from collections.abc import Collection, Mapping

_MOST_BYTES = 10_000_000  # of the texts in a file, which may be anybody's
_BEGIN = b"PK\x03\x04\x14\0\0\0\0\0"  # of a member that is not compressed
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive knows


def write_archive(texts: Mapping[str, str | bytes]) -> bytes:
    """Return an archive that is the same each time.

    Raises:
        ValueError: the texts are too large to be read again.
    """
    size = sum(map(len, texts.values()))
    if size > _MOST_BYTES:
        raise ValueError(
            f"The texts that go with a file must be of at most {_MOST_BYTES:,} "
            f"characters. Received: {size:,}"
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), text)
    return content.getvalue()


def read_archive(
    content: bytes, names: Collection[str] | None = None
) -> dict[str, bytes]:
    """Return the members of a file's archive, none if it has no archive.

    Args:
        content: of the .tflite file.
        names: of the members to read, all by default.

    Raises:
        ValueError: the archive is damaged, or its members are too large.
    """
    whole = io.BytesIO(content)
    if not zipfile.is_zipfile(whole):
        if _BEGIN in content:
            raise ValueError("it ends early")
        return {}
    try:
        with zipfile.ZipFile(whole) as archive:
            members = [
                x
                for x in archive.infolist()
                if names is None or x.filename in names
            ]
            if sum(x.file_size for x in members) > _MOST_BYTES:
                raise ValueError("its texts are too large")
            return {x.filename: archive.read(x) for x in members}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        reason = str(error) or "it ends early"
        raise ValueError(reason) from error
