"""Other runtimes of .tflite files, and what they need of a file."""

from kbp.export.runtimes.compare import Agreement, compare_kernels
from kbp.export.runtimes.interface import with_interface
from kbp.export.runtimes.micro import arena_size

__all__ = [
    "Agreement",
    "arena_size",
    "compare_kernels",
    "with_interface",
]
