"""Other runtimes of .tflite files, and what they need of a file."""

from kbp.export.runtimes.compare import Agreement, verify_runtimes
from kbp.export.runtimes.interface import with_interface
from kbp.export.runtimes.micro import arena_size
from kbp.export.runtimes.registry import RUNTIMES, Runtime, register_runtime
from kbp.export.runtimes.walk import Difference

__all__ = [
    "Agreement",
    "Difference",
    "RUNTIMES",
    "Runtime",
    "arena_size",
    "register_runtime",
    "verify_runtimes",
    "with_interface",
]
