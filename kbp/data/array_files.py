"""Arrays of NumPy's files."""

import zipfile
from pathlib import Path

import numpy as np

from kbp._utils.machine import memory
from kbp.errors import UserError

_MOST_UNPACKED = 1_000_000_000  # bytes, of what is compressed


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an `.npz` file, or an `.npy` file, whose one array is `""`.

    What they promise is compared with what there is before it is read: an array
    may fill half of the memory, and what is compressed a billion bytes.

    Args:
        path: of the file; it may be from anybody.

    Raises:
        UserError: the file is missing, damaged or too large, or holds objects.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.npz"
    ...     np.savez(path, inputs=np.eye(2))
    ...     arrays = read_arrays(path)
    >>> arrays["inputs"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if not path.is_file():
        raise UserError(f"{path}: cannot be read: no such file.")
    try:
        if path.suffix == ".npz":
            _check_members(path)
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        # It must be as long as its header says to be mapped.
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        _check(path, mapped.nbytes, memory() // 2)
        return {"": np.array(mapped)}
    except UserError:
        raise
    except Exception as error:  # a broken file may raise any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be read: {reason}") from error


def _check_members(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
    _check(path, sum(m.file_size for m in packed), _MOST_UNPACKED)
    _check(path, sum(m.file_size for m in members), memory() // 2)


def _check(path: Path, size: int, most: int) -> None:
    if size > most:
        raise UserError(
            f"{path}: its arrays have {size:,} bytes; at most {most:,} are "
            "read. Give fewer examples."
        )
