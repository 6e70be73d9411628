"""Runtimes of .tflite files, by name."""

import abc
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp._utils.registry import Registry

# The inputs or outputs of a call of a file, in its types.
Arrays = Sequence[np.ndarray]


class Runtime(abc.ABC):
    """What runs .tflite files somewhere.

    Attributes:
        least_exact: share of the outputs that must be those of LiteRT with
            XNNPACK at one thread.
        least_within_one: share that must be at most a step from them.
        types: of the schema's tensors, which the runtime can hand out.
    """

    least_exact = 0.0
    least_within_one = 0.99
    types = frozenset(
        getattr(schema.TensorType, name)
        for name in ("FLOAT32", "INT8", "UINT8", "INT16", "INT32", "BOOL")
    )

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """What runs, in words; only where nothing is missing."""

    @abc.abstractmethod
    def run(self, content: bytes, calls: Sequence[Arrays]) -> list[Arrays]:
        """Return the outputs of each call.

        Args:
            content: of a .tflite file that LiteRT has run.
            calls: inputs, in the file's types and batch size.

        Raises:
            ValueError: the runtime does not run the file; the message names
                an operation that it lacks, and its layer.
        """

    def missing(self) -> str | None:
        """Say what to install for it, `None` where that is there."""
        return None


RUNTIMES: Registry[Runtime] = Registry("runtime", "kbp.export.runtimes.kinds")
Kind = TypeVar("Kind", bound=type[Runtime])


def register_runtime(name: str) -> Callable[[Kind], Kind]:
    """Register a class of runtimes, of which one is made.

    Args:
        name: of the runtime.

    Returns:
        A decorator of a subclass of `Runtime`.

    Raises:
        UserError: another runtime has that name.

    Example:
    >>> from kbp.export.runtimes.registry import (
    ...     RUNTIMES, Runtime, register_runtime)
    >>> @register_runtime("none_at_all")
    ... class NoneAtAll(Runtime):
    ...     version = "0"
    ...     def run(self, content, calls):
    ...         raise ValueError("It runs nothing.")
    >>> "none_at_all" in RUNTIMES
    True
    """

    def register(kind: Kind) -> Kind:
        RUNTIMES.add(name, kind(), origin=kind)
        return kind

    return register
