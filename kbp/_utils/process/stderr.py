"""Suppression of messages on standard error that tell a person nothing."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_shown = False


def show() -> None:
    """Hold nothing back any more, and let TensorFlow say all that it says.

    This must come before TensorFlow is imported.
    """
    global _shown
    _shown = True
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"


@contextlib.contextmanager
def suppress_stderr(lines: str = "") -> Iterator[None]:
    """Hold back standard error within a context; show it after an error.

    No log level stops these messages, because C++ code writes them.

    Args:
        lines: pattern of the lines to hold back, the others show at the end of
            the context; by default all.
    """
    if _shown:
        yield
        return
    held = re.compile(lines.encode())
    with tempfile.TemporaryFile() as messages:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception:
            held = re.compile(b"(?!)")  # none
            raise
        finally:
            os.dup2(stderr, 2)
            messages.seek(0)
            for line in messages:
                if not held.match(line):
                    os.write(stderr, line)
            os.close(stderr)


@contextlib.contextmanager
def suppress_records(logger: str, words: str) -> Iterator[None]:
    """Hold back what a logger of Python's says with some words.

    Args:
        logger: name of the logger.
        words: that only such messages have.
    """

    def keeps(record: logging.LogRecord) -> bool:
        return words not in record.getMessage()

    named = logging.getLogger(logger)
    named.addFilter(keeps)
    try:
        yield
    finally:
        named.removeFilter(keeps)
