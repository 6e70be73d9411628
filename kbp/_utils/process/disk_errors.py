"""What goes wrong with a disk, in one line that names the file."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from kbp.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = dict.fromkeys(FULL, "Make room there") | {
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f)",
}
_SAID = (*_ADVICE, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTDIR)


@contextlib.contextmanager
def named(path: str | Path, advice: str = "") -> Iterator[None]:
    """Turn an `OSError` into one line that names what could not be written.

    Args:
        path: what is written.
        advice: what else to do about it.

    Raises:
        UserError: instead of the `OSError`.

    Example:
    >>> with named("a.txt"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
        ...
    kbp.errors.UserError: a.txt: cannot be written: No space left on device...
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error, advice) from error


@contextlib.contextmanager
def tensorflow_writes(folder: Path) -> Iterator[None]:
    """Turn an error of TensorFlow about a folder's files into one line.

    Args:
        folder: that TensorFlow writes to within the context.

    Raises:
        UserError: instead of TensorFlow's error.
    """
    try:
        yield
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")
        if (
            tensorflow is None
            or not isinstance(error, tensorflow.errors.OpError)
            or str(folder) not in error.message
        ):
            raise
        raise cannot_write(folder, error) from error


def cannot_write(
    path: str | Path, error: Exception, advice: str = ""
) -> UserError:
    """Return the error that a path could not be written, and what to do."""
    code, reason = getattr(error, "errno", None), ""
    if not code:  # HDF5 and TensorFlow have it among more words
        text = " ".join(str(error).split())
        known = [x for x in _SAID if os.strerror(x) in text]
        code, reason = (known[0], "") if known else (0, text)
    said = _ADVICE.get(code, "Choose another folder")
    said = f"{said}. {advice}" if advice else said
    reason, name = reason or os.strerror(code), str(path)
    shown = name if len(name) <= 300 else f"{name[:300]}..."
    return UserError(f"{shown}: cannot be written: {reason}. {said}.")
