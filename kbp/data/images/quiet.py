"""Reading without the warnings of Pillow, in several threads."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_lock = threading.Lock()
_within = 0
_filters = contextlib.ExitStack()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings as long as a thread is within the context.

    They are of large images and of odd data beside the pixels. Python keeps one
    list of filters for all threads, so the first to come changes it, and the
    last to leave changes it back.
    """
    global _within
    with _lock:
        if not _within:
            _filters.enter_context(warnings.catch_warnings(action="ignore"))
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                _filters.close()
