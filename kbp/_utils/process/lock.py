"""Locks that end with the process that holds them."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from kbp._utils.files import make_folder
from kbp._utils.process.disk_errors import named
from kbp.errors import UserError

# What file systems answer that have no locks, such as some of clusters.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def lock(file: Path, what: str | Path) -> FileIO:
    """Lock a file until what is returned is closed, or the process ends.

    The kernel knows who holds the lock, so one of a process that was killed is
    none. On NFS it holds between machines. A file system without locks gives
    none, and then only one process may run there.

    Args:
        file: to lock, which is made if it is not there. What it holds stays.
        what: is locked, for the error.

    Raises:
        UserError: a process that runs holds the lock.
        OSError: there can be no such file.
    """
    opened = FileIO(file, "a")  # NFS locks only what may be written
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        opened.close()
        raise UserError(
            f"{what}: another process is running there. Wait for its end."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            opened.close()
            raise
    return opened


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Lock a file within the context, see `lock`; missing folders are made."""
    with named(file):
        make_folder(file.parent)
        opened = lock(file, file)
    with opened:
        yield
