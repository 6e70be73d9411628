"""Other runtimes of .tflite files, and what they need of a file."""

from kbp.export.runtimes.compare import Agreement, compare_kernels
from kbp.export.runtimes.micro import arena_size
from kbp.export.runtimes.uint8 import with_uint8_interface

__all__ = [
    "Agreement",
    "arena_size",
    "compare_kernels",
    "with_uint8_interface",
]
