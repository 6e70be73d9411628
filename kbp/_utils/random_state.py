"""The random state of a person's program."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Put the state of Python's and NumPy's generators back after a context.

    Keras draws the seeds of new layers from Python's.
    """
    python, legacy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
